/**
 * Who is connected to which server, asked of all of a cluster at once through the system account. Events tell what changes; what was
 * there before somebody listened (nodes come back to a server that starts again as soon as its daemon does), and what a server took
 * with it when it died, no event tells.
 */
import { setTimeout as delay } from "node:timers/promises";
import { createInbox } from "@nats-io/nats-core";
import { z } from "zod";
import type { Clock, Timer } from "../system/clock.ts";
import { decodeBody } from "./body.ts";
import { ACCOUNT } from "./nats-config.ts";
import type { Connection } from "./nats-connection.ts";
import type { Census, OpenConnections, Seen } from "./nats-open.ts";

const ASK = "$SYS.REQ.SERVER.PING.CONNZ";
/** Servers of one cluster answer within milliseconds; how many there are, nobody knows for sure. */
const ANSWERS_MS = 500;
/** What no event has told is known after this at the latest. */
const CENSUS_MS = 5_000;
/** A node that leaves one server for another is there within this. */
const MOVE_MS = 150;
/** `max_connections` of a server. */
const CONNECTIONS_MAX = 4_096;

const Answer = z.object({
  server: z.object({ id: z.string() }),
  data: z.object({
    connections: z.array(z.object({ cid: z.int(), nkey: z.string().optional(), authorized_user: z.string().optional() })).nullish(),
  }),
});

/** Ends early when all of these have answered. */
async function takeCensus({ nc }: Connection, expected: ReadonlySet<string>): Promise<Census> {
  const census = new Map<string, readonly Seen[]>();
  const done = Promise.withResolvers<void>();
  const subscription = nc.subscribe(createInbox("_INBOX_SYSTEM"), {
    callback: (error, message) => {
      const answer = error === null ? Answer.safeParse(decodeBody(message.data)) : undefined;
      if (answer?.success !== true) return;
      const { server, data } = answer.data;
      census.set(
        server.id,
        (data.connections ?? []).flatMap(({ cid, nkey, authorized_user }) => {
          const user = nkey ?? authorized_user;
          return user === undefined ? [] : [{ user, connection: cid }];
        }),
      );
      if (expected.size > 0 && expected.isSubsetOf(new Set(census.keys()))) done.resolve();
    },
  });
  nc.publish(ASK, JSON.stringify({ acc: ACCOUNT, auth: true, limit: CONNECTIONS_MAX }), { reply: subscription.getSubject() });
  await Promise.race([done.promise, delay(ANSWERS_MS, undefined, { ref: false })]);
  subscription.unsubscribe();
  return census;
}

export interface CensusWatch {
  /** Now, if there is none under way. */
  take(): void;
  /** Calls `gone` where this user turns out to hang on no server any more; once, however many of its connections end meanwhile. */
  whenGone(user: string, gone: () => void): void;
  stop(): void;
}

/** Mends what is known now, and of a cluster every now and then. */
export function watchCensus(system: Connection, open: OpenConnections, clock: Clock, clustered: boolean): CensusWatch {
  const asked = new Set<string>();
  let last: Promise<Census> = Promise.resolve(new Map());
  let stopped = false;
  let timer: Timer | undefined;
  /** One after the other, so that each says what was there after it was asked for. `patient`: waits for servers that nobody knows yet, too. */
  const census = (patient: boolean): Promise<Census> => {
    last = last.then(async () => {
      if (stopped || !system.connected) return new Map();
      open.censusAsked();
      const found = await takeCensus(system, patient ? new Set() : open.servers());
      // What was cut off itself has heard nobody.
      if (system.connected) open.mend(found);
      return found;
    });
    return last;
  };
  const arm = (): void => {
    timer = clock.after(CENSUS_MS, () => void census(true).then(() => void (stopped || arm())));
  };
  void census(true);
  if (clustered) arm();
  return {
    take: () => void census(true),
    whenGone(user, gone) {
      if (asked.has(user)) return;
      asked.add(user);
      const look = async (): Promise<void> => {
        const found = await census(false);
        asked.delete(user);
        if (!stopped && found.size > 0 && !open.isVouchedFor(user, found)) gone();
      };
      clock.after(MOVE_MS, () => void look());
    },
    stop() {
      stopped = true;
      timer?.cancel();
    },
  };
}
