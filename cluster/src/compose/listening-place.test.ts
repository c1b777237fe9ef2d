/** What `api.host` comes to, with a stub of Tailscale on PATH. The real listeners on a tailnet's address: tests/integration/tailnet.test.ts. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NEEDS_LOGIN, RUNNING, SELF, STARTING, tailscaleStub, type TailscaleStub } from "../../../tests/support/tailscale.ts";
import { silentLog } from "../system/log.ts";
import type { OwnAddress } from "../system/own-addresses.ts";
import { certifiedHosts, findListeningPlace, type ListeningPlace, type PlaceParts } from "./listening-place.ts";

let stub: TailscaleStub;
let told: string[];
let giveUp: AbortController;
/** What happens while it waits, one after the other. */
let meanwhile: (() => void)[];
beforeEach(() => {
  stub = tailscaleStub();
  told = [];
  meanwhile = [];
  giveUp = new AbortController();
});
afterEach(() => stub.remove());

const at = (interfaceName: string, ...addresses: readonly string[]): OwnAddress[] =>
  addresses.map((address) => ({ address, at: interfaceName }));
const LOOPBACK = at("lo", "127.0.0.1", "::1");

function find(host: string, more: Partial<PlaceParts> = {}): Promise<ListeningPlace> {
  return findListeningPlace({
    host,
    env: stub.env,
    log: silentLog,
    signal: giveUp.signal,
    progress: (text) => void told.push(text),
    addresses: () => [...LOOPBACK, ...at("tailscale0", SELF.ip4, SELF.ip6)],
    outward: async () => [],
    pause: async () => meanwhile.shift()?.(),
    ...more,
  });
}

it.each(["127.0.0.1", "127.0.0.2", "::1", "localhost"])(
  "%s: nats-server stays on the loopback, and nobody asks Tailscale",
  async (host) => {
    expect(await find(host)).toEqual({ apiHost: host, busHost: "127.0.0.1", tls: false, addresses: [host], names: [] });
    expect(stub.calls()).toEqual([]);
  },
);

// The stub is a shell script.
describe.skipIf(process.platform === "win32")("in the tailnet", () => {
  it("both listen on its address, and the MagicDNS name leads there (L1)", async () => {
    const place = { apiHost: SELF.ip4, busHost: SELF.ip4, tls: false, addresses: [SELF.ip4], names: [SELF.name] };
    expect(await find("tailscale")).toEqual(place);
    expect(told).toEqual([]);
  });

  it.each([SELF.ip4, SELF.ip6])("an address of it that the settings name, %s, has the name too", async (host) => {
    expect(await find(host)).toEqual({ apiHost: host, busHost: host, tls: false, addresses: [host], names: [SELF.name] });
  });

  it("however it is written", async () => {
    expect(await find("fd7a:115c:a1e0:0:0:0:6501:6667")).toMatchObject({ tls: false, names: [SELF.name] });
  });

  it("an address of the range that Tailscale does not call its own speaks TLS and has no name: a provider's, perhaps (L3)", async () => {
    const place = { apiHost: "100.99.9.9", busHost: "100.99.9.9", tls: true, addresses: ["100.99.9.9"], names: [] };
    expect(await find("100.99.9.9")).toEqual(place);
    expect(await find("100.99.9.9", { env: { PATH: "/nonexistent" } })).toEqual(place);
    expect(await find(SELF.ip4, { env: { PATH: "/nonexistent" } })).toMatchObject({ tls: true, names: [] });
    expect(told).toEqual([]);
  });

  it("while Tailscale cannot say whether an address is its own, that is waited for, and then the interface (L2)", async () => {
    let own: OwnAddress[] = [];
    stub.says(STARTING);
    meanwhile = [() => stub.says(RUNNING), () => (own = at("tailscale0", SELF.ip4))];
    expect(await find(SELF.ip4, { addresses: () => own })).toMatchObject({ apiHost: SELF.ip4, tls: false });
    expect(told).toEqual([
      expect.stringMatching(/only Tailscale can say whether 100\.101\.102\.103 .* does not run here: it is starting/),
      expect.stringContaining("no network interface of this machine has its address"),
      "Tailscale is there",
    ]);
    stub.says(STARTING);
    meanwhile = [() => stub.says(RUNNING)];
    expect(await find("100.99.9.9")).toMatchObject({ tls: true });
  });

  it("a Tailscale that comes up is waited for, then its address on an interface (L2)", async () => {
    let own: OwnAddress[] = [];
    stub.says(STARTING);
    meanwhile = [() => stub.says(NEEDS_LOGIN), () => stub.says(RUNNING), () => (own = at("tailscale0", SELF.ip4))];
    expect((await find("tailscale", { addresses: () => own })).apiHost).toBe(SELF.ip4);
    expect(told).toEqual([
      expect.stringMatching(/^waiting for Tailscale, tried once: Tailscale does not run here: it is starting/),
      expect.stringMatching(/^waiting for Tailscale, tried 2 times: .* logged out\. Run `tailscale up` and log in/),
      expect.stringContaining(`no network interface of this machine has its address ${SELF.ip4}`),
      "Tailscale is there",
    ]);
  });

  it("the wait ends when the start is given up", async () => {
    stub.says(STARTING);
    meanwhile = [() => giveUp.abort(new Error("given up"))];
    await expect(find("tailscale")).rejects.toThrow("given up");
  });
});

it("a Tailscale that is not installed ends the start, with the next step", async () => {
  await expect(find("tailscale", { env: { PATH: "/nonexistent" } })).rejects.toMatchObject({
    code: "config_invalid",
    detail: expect.stringContaining("Install Tailscale") as string,
  });
});

describe("in the local network", () => {
  const HOME = [...LOOPBACK, ...at("eth0", "192.168.1.5", "fd12:3456::5"), ...at("wlan0", "192.168.1.6")];

  it("is the address with the default route, IPv4 first, and speaks TLS (L3)", async () => {
    const place = await find("lan", { addresses: () => HOME, outward: async () => ["192.168.1.6", "fd12:3456::5"] });
    expect(place).toEqual({ apiHost: "192.168.1.6", busHost: "192.168.1.6", tls: true, addresses: ["192.168.1.6"], names: [] });
    expect(stub.calls()).toEqual([]);
  });

  it("is the only private one where no way leads out, or where it leads through a tunnel", async () => {
    const inside = [...at("docker0", "172.17.0.1"), ...at("br-0a1b2c", "172.18.0.1"), ...at("tailscale0", SELF.ip4)];
    const addresses = (): OwnAddress[] => [...LOOPBACK, ...inside, ...at("eth0", "10.0.0.7", "203.0.113.7")];
    for (const outward of [[], [SELF.ip4], ["203.0.113.7"]])
      expect((await find("lan", { addresses, outward: async () => outward })).apiHost).toBe("10.0.0.7");
  });

  it("has to be chosen where there are several", async () => {
    await expect(find("lan", { addresses: () => HOME })).rejects.toMatchObject({
      code: "config_invalid",
      detail: expect.stringContaining("192.168.1.5 (eth0), fd12:3456::5 (eth0), 192.168.1.6 (wlan0)") as string,
    });
  });

  it("is waited for while the machine has none (L2)", async () => {
    let own = LOOPBACK;
    meanwhile = [() => (own = HOME)];
    expect((await find("lan", { addresses: () => own, outward: async () => ["192.168.1.5"] })).apiHost).toBe("192.168.1.5");
    expect(told).toEqual([
      expect.stringContaining("no network interface of this machine has a private address"),
      expect.stringMatching(/is there$/),
    ]);
  });

  it("speaks TLS at any address that is named, and at all of them, the nearest first", async () => {
    expect(await find("192.168.1.5")).toMatchObject({ apiHost: "192.168.1.5", tls: true, addresses: ["192.168.1.5"] });
    const addresses = (): OwnAddress[] => [...at("ppp0", "203.0.113.7"), ...at("tailscale0", SELF.ip4), ...HOME];
    expect(await find("0.0.0.0", { addresses })).toMatchObject({
      apiHost: "0.0.0.0",
      tls: true,
      addresses: ["192.168.1.5", "fd12:3456::5", "192.168.1.6", SELF.ip4, "203.0.113.7"],
    });
  });
});

it("a certificate names what the machine may be called by, each once, and no port", () => {
  const place = { addresses: ["192.168.1.5"], names: [SELF.name] } as unknown as ListeningPlace;
  const hosts = certifiedHosts(place, ["studio.example.org:8888", "studio.example.org", "192.168.1.5", "[fd12::5]:8888", "no name"]);
  expect(hosts).toEqual(
    expect.arrayContaining(["192.168.1.5", SELF.name, "studio.example.org", "fd12::5", "localhost", "127.0.0.1", "::1"]),
  );
  expect(new Set(hosts).size).toBe(hosts.length);
  expect(hosts.filter((host) => /[\s[\]]|:8888/.test(host))).toEqual([]);
});
