/** What one server of a cluster has refused, told to the daemons beside the others through the system account (nats-watch.ts, W1). */
import { z } from "zod";
import type { Clock } from "../system/clock.ts";
import { decodeBody, encodeBody } from "./body.ts";
import type { Connection } from "./nats-connection.ts";
import type { Refusal } from "./nats-log.ts";

/** In the system account, where no node is. */
const SUBJECT = "ocx.refused";
/** Of one server; whoever is refused more often in a second is told of often enough. */
const TOLD_PER_SECOND_MAX = 50;
const SECOND_MS = 1_000;
const WORDS_MAX = 256;

const Told = z.object({
  /** The server's id. */
  by: z.string(),
  refusal: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("trespass"), key: z.string().max(WORDS_MAX), what: z.string().max(WORDS_MAX) }),
    z.object({ kind: z.literal("guess"), address: z.string().max(WORDS_MAX), key: z.string().max(WORDS_MAX).exactOptional() }),
  ]),
});

/** Returns how to tell the others. `noted` hears what they tell. */
export function shareRefusals(system: Connection, clock: Clock, noted: (refusal: Refusal) => void): (refusal: Refusal) => void {
  const own = (): string => system.nc.info?.server_id ?? "";
  system.nc.subscribe(SUBJECT, {
    callback: (error, message) => {
      const told = error === null ? Told.safeParse(decodeBody(message.data)) : undefined;
      if (told?.success === true && told.data.by !== own()) noted(told.data.refusal);
    },
  });
  let second = 0;
  let count = 0;
  return (refusal) => {
    const now = Math.floor(clock.monotonic() / SECOND_MS);
    count = now === second ? count + 1 : 1;
    second = now;
    if (count > TOLD_PER_SECOND_MAX || !system.connected) return;
    system.nc.publish(SUBJECT, encodeBody({ by: own(), refusal } satisfies z.infer<typeof Told>, SUBJECT));
  };
}
