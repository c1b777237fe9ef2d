import { networkInterfaces } from "node:os";
import { expect, it } from "vitest";
import { outwardAddresses, ownAddresses, privateAddresses, type OwnAddress } from "./own-addresses.ts";

it("are those of the interfaces, without such as only this machine can say", () => {
  const all = Object.values(networkInterfaces()).flatMap((own) => (own ?? []).map(({ address }) => address));
  const own = ownAddresses().map(({ address }) => address);
  expect(own).toContain("127.0.0.1");
  expect(all).toEqual(expect.arrayContaining(own));
  expect(own.filter((address) => address.startsWith("fe80:"))).toEqual([]);
});

it("towards the world are this machine's own, or none where there is no way", async () => {
  const own = ownAddresses().map(({ address }) => address);
  expect(own).toEqual(expect.arrayContaining(await outwardAddresses()));
});

it("are private in a home's network, not in one that ends in this machine", () => {
  const at = (name: string, address: string): OwnAddress => ({ at: name, address });
  const home = [at("eth0", "192.168.1.5"), at("enp3s0", "fd12::5"), at("Wi-Fi", "10.1.1.1"), at("bridge0", "172.20.1.1")];
  const others = [
    at("lo", "127.0.0.1"),
    at("eth1", "203.0.113.7"),
    at("tailscale0", "100.64.0.1"),
    at("docker0", "172.17.0.1"),
    at("br-1a2b3c4d5e6f", "172.18.0.1"),
    at("virbr0", "192.168.122.1"),
    at("vEthernet (Default Switch)", "172.24.0.1"),
  ];
  expect(privateAddresses([...others, ...home])).toEqual(home);
});
