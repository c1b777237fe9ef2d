/** This machine's own addresses, and which of them its network knows it by. */
import { createSocket, type SocketType } from "node:dgram";
import { networkInterfaces } from "node:os";
import { reachOf } from "./address.ts";

export interface OwnAddress {
  readonly address: string;
  /** The network interface: `eth0`. */
  readonly at: string;
}

/** Networks that a program made for its containers and virtual machines, and that end in this machine. */
const INSIDE = /^(docker|br-|veth|virbr|vmnet|vboxnet|podman|cni|lxc|lxd|incus)|^vEthernet|VirtualBox|VMware/;
/** Of documentation (RFC 5737, RFC 3849): nobody has them, so the way to them is the way to the world. */
const FAR: readonly (readonly [SocketType, string])[] = [
  ["udp4", "192.0.2.1"],
  ["udp6", "2001:db8::1"],
];

/** All of them, the loopback's too. Those with a zone (fe80::…) are left out: other machines cannot say them. */
export function ownAddresses(): OwnAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([at, own]) =>
    (own ?? []).filter(({ scopeid = 0 }) => scopeid === 0).map(({ address }) => ({ address, at })),
  );
}

/** Those in a home's or an office's own network. */
export function privateAddresses(own: readonly OwnAddress[]): OwnAddress[] {
  return own.filter(({ address, at }) => reachOf(address) === "private" && !INSIDE.test(at));
}

/** The addresses that the interface with the default route has: IPv4's, IPv6's, as far as there is a way out. */
export async function outwardAddresses(): Promise<string[]> {
  const found = await Promise.all(FAR.map(([type, far]) => sourceTowards(type, far)));
  return found.filter((address) => address !== undefined);
}

/** Connecting such a socket chooses a way and sends nothing. The kernel answers alike on every system. */
function sourceTowards(type: SocketType, far: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(type);
    const done = (address?: string): void => {
      socket.close();
      resolve(address);
    };
    socket.once("error", () => done());
    socket.connect(9, far, () => done(socket.address().address));
  });
}
