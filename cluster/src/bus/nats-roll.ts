/** Which servers of the bus answer, asked of all of them at once through the system account. */
import { setTimeout as delay } from "node:timers/promises";
import type { BusServer } from "@openclaw-cluster/contract/cluster";
import { createInbox } from "@nats-io/nats-core";
import { z } from "zod";
import { decodeBody } from "./body.ts";
import type { Connection } from "./nats-connection.ts";

const ASK = "$SYS.REQ.SERVER.PING";
/** Servers of one cluster answer within milliseconds; how many there are, nobody knows for sure. */
const ANSWERS_MS = 500;
const SERVERS_MAX = 64;

const Answer = z.object({
  server: z.object({ name: z.string(), ver: z.string() }),
  statsz: z.object({ connections: z.int(), routes: z.array(z.object({ name: z.string().optional() })).nullish() }),
});

export interface Roll {
  readonly mode: "alone" | "cluster";
  /** By name. */
  readonly servers: readonly BusServer[];
}

/** One that is alone does not wait for others. */
export async function callRoll({ nc, connected }: Connection, mode: Roll["mode"]): Promise<Roll> {
  const seen = new Map<string, BusServer>();
  if (!connected) return { mode, servers: [] };
  const done = Promise.withResolvers<void>();
  const subscription = nc.subscribe(createInbox("_INBOX_SYSTEM"), {
    callback: (error, message) => {
      const answer = error === null ? Answer.safeParse(decodeBody(message.data)) : undefined;
      if (answer?.success !== true || seen.size >= SERVERS_MAX) return;
      const { server, statsz } = answer.data;
      const routes = new Set((statsz.routes ?? []).flatMap(({ name }) => (name === undefined ? [] : [name])));
      seen.set(server.name, { name: server.name, version: server.ver, connections: statsz.connections, routes: [...routes].sort() });
      if (mode === "alone" || isWhole(seen)) done.resolve();
    },
  });
  nc.publish(ASK, "", { reply: subscription.getSubject() });
  await Promise.race([done.promise, delay(ANSWERS_MS, undefined, { ref: false })]);
  subscription.unsubscribe();
  return { mode, servers: [...seen.values()].sort((a, b) => (a.name < b.name ? -1 : 1)) };
}

/** Everybody that somebody has a route to has answered. */
function isWhole(seen: ReadonlyMap<string, BusServer>): boolean {
  const all = [...seen.values()];
  return all.length > 1 && all.every(({ routes }) => routes.every((name) => seen.has(name)));
}
