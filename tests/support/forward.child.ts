/**
 * Carries TCP connections from one place to another until it is ended, as one end of an SSH tunnel does: what has ended
 * on one side is ended on the other, and nothing more is known about the network in between.
 *
 * usage: forward.child.ts '[{ "listen": …, "target": … }]', each side as node:net takes it
 */
import type { ListenOptions, NetConnectOpts } from "node:net";
import { openChaosProxy } from "./chaos-proxy.ts";

for (const way of JSON.parse(process.argv[2] ?? "[]") as { listen: ListenOptions; target: NetConnectOpts }[]) await openChaosProxy(way);
process.stdout.write("ready\n");
