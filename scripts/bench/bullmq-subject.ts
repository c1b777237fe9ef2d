/** BullMQ as a subject: Queue, QueueEvents and a Worker in a process of its own (bullmq-worker.ts). */
import { Queue, QueueEvents, type Job } from "bullmq";
import { Redis } from "ioredis";
import { nowMs, type Subject } from "./subject.ts";

export const QUEUE = "bench";
const EVENTS_KEPT = 1_000_000;
/** A queue without a worker. */
const PARKED = "bench-parked";

/** BullMQ wants a ready client where it is loaded as a module. */
export function connectTo(port: number): Redis {
  return new Redis({ host: "127.0.0.1", port, maxRetriesPerRequest: null });
}

export async function openBullmqSubject(port: number): Promise<Subject> {
  const connections = [connectTo(port), connectTo(port), connectTo(port)] as const;
  // By default the events of only some 2,500 jobs are kept: with arrays in flight, ends would be lost and waited for in vain.
  const streams = { events: { maxLen: EVENTS_KEPT } };
  const queue = new Queue(QUEUE, { connection: connections[0], streams });
  const parked = new Queue(PARKED, { connection: connections[1] });
  // From the last event so far on: its usual "from now" begins with its first read, which the first results can overtake.
  const [last] = await connections[0].xrevrange(`bull:${QUEUE}:events`, "+", "-", "COUNT", 1);
  const events = new QueueEvents(QUEUE, { connection: connections[2], lastEventId: last?.[0] ?? "0-0" });
  await Promise.all([queue.waitUntilReady(), parked.waitUntilReady(), events.waitUntilReady()]);
  // A result can be announced before `add` has answered: what nobody waits for yet is kept.
  const waiting = new Map<string, () => void>();
  const early = new Set<string>();
  events.on("completed", ({ jobId }) => {
    const resolve = waiting.get(jobId);
    if (resolve === undefined) early.add(jobId);
    else {
      waiting.delete(jobId);
      resolve();
    }
  });
  const done = (id: string): Promise<void> => (early.delete(id) ? Promise.resolve() : new Promise((resolve) => waiting.set(id, resolve)));
  const job = (payload: string): { name: string; data: { payload: string } } => ({ name: "noop", data: { payload } });
  const idOf = (added: Job): string => added.id as string;
  return {
    runOne: async (payload) => done(idOf(await queue.add("noop", { payload }))),
    runArray: async (payloads) => {
      const added = await queue.addBulk(payloads.map(job));
      await Promise.all(added.map((one) => done(idOf(one))));
    },
    submitOne: async (payload) => void (await parked.add("noop", { payload })),
    submitArray: async (payloads) => void (await parked.addBulk(payloads.map(job))),
    timeOne: async (payload) => {
      const from = nowMs();
      const added = await queue.add("noop", { payload });
      await done(idOf(added));
      const resultMs = nowMs() - from;
      const finished = await queue.getJob(idOf(added));
      return { startMs: (finished?.processedOn ?? Number.NaN) - from, resultMs };
    },
    close: async () => {
      await Promise.all([events.close(), queue.close(), parked.close()]);
      for (const connection of connections) connection.disconnect();
    },
  };
}
