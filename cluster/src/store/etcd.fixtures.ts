/**
 * For the etcd store's tests: clients that lose, repeat or die, around a real one; and a look at what a store has left in etcd,
 * key for key.
 */
import { expect } from "vitest";
import { isDead, isTerminal } from "../core/task.ts";
import { afterPrefix, EtcdFault, type EtcdClient, type Transaction, type Transacted } from "./etcd-client.ts";
import { fromJson, type DoneRow } from "./etcd-codec.ts";
import { doneIn, endIn, Keys, numberIn } from "./etcd-keys.ts";
import { local, pages } from "./etcd-look.ts";
import { systemClock } from "../system/clock.ts";
import { silentLog } from "../system/log.ts";
import type { Model } from "./store.model.ts";

type Around = (send: () => Promise<Transacted>, transaction: Transaction) => Promise<Transacted>;

/** Every transaction goes through `around`. */
export function wrapped(client: EtcdClient, around: Around): EtcdClient {
  return { ...client, transact: (transaction, options) => around(() => client.transact(transaction, options), transaction) };
}

/** As if the process had died: no call after it is answered or sent. */
export class Died extends Error {
  override name = "Died";
}

/** Dies at the n-th transaction, before it is sent or when it is done. Only `transact` counts: everything that changes is one. */
export function dying(client: EtcdClient, n: number, when: "before" | "after"): EtcdClient & { calls(): number } {
  let calls = 0;
  const isDead = (): boolean => calls > n || (calls === n && when === "before");
  const alive = async <T>(work: () => Promise<T>): Promise<T> => {
    if (calls >= n) throw new Died();
    return work();
  };
  const transact = async (transaction: Transaction): Promise<Transacted> => {
    calls += 1;
    if (isDead()) throw new Died();
    const answer = await client.transact(transaction);
    if (calls >= n) throw new Died();
    return answer;
  };
  return { ...client, transact, range: (range) => alive(() => client.range(range)), calls: () => calls };
}

/** Some answers are lost, and some requests; `picks` says which, one for each call, over and over. */
export function lossy(client: EtcdClient, picks: readonly ("answer" | "request" | "none")[]): EtcdClient {
  let calls = 0;
  return wrapped(client, async (send) => {
    const pick = picks[calls++ % picks.length];
    if (pick !== "request") {
      const answer = await send();
      if (pick !== "answer") return answer;
    }
    throw new EtcdFault("undecided", "lost by the test", { mayHaveHappened: true });
  });
}

/** What changes something is sent once more, so many calls later: as a message that was held up under way. */
export function repeating(client: EtcdClient, delays: readonly number[]): EtcdClient {
  let calls = 0;
  const late: { at: number; send: () => Promise<Transacted> }[] = [];
  return wrapped(client, async (send, { then }) => {
    calls += 1;
    for (const { send: sendLate } of late.splice(0, late.filter(({ at }) => at <= calls).length)) await sendLate();
    const delay = delays[calls % delays.length] ?? 0;
    if (delay > 0 && then.some((operation) => !("get" in operation))) {
      late.push({ at: calls + delay, send });
      late.sort((a, b) => a.at - b.at);
    }
    return send();
  });
}

/** All keys and values under the prefix. */
export async function contents(client: EtcdClient, prefix: string): Promise<Map<string, Buffer>> {
  const look = local({ client, keys: new Keys(prefix), clock: systemClock, log: silentLog });
  const all = new Map<string, Buffer>();
  for await (const page of pages(look, { from: prefix, to: afterPrefix(prefix) })) for (const { key, value } of page) all.set(key, value);
  return all;
}

/** After a fold: every key stands for something of the model, and nothing is left of what was. */
export async function expectTidy(client: EtcdClient, prefix: string, model: Model): Promise<void> {
  const all = await contents(client, prefix);
  const keys = new Keys(prefix);
  const under = (folder: string): string[] => [...all.keys()].filter((key) => key.startsWith(keys.folder(folder)));
  const numbers = (folder: string): number[] => under(folder).map(numberIn);
  const newestFirst = (folder: string): number[] => under(folder).map(doneIn).toReversed();
  const tasks = model.list({}).toReversed();
  const over = tasks.filter(({ state }) => isTerminal(state));
  const keysOf = (some: readonly { key: number }[]): number[] => some.map(({ key }) => key);
  expect(under("log")).toStrictEqual([keys.head]);
  expect(under("part")).toStrictEqual([]);
  expect(numbers("live")).toStrictEqual(keysOf(tasks.filter(({ state }) => !isTerminal(state))));
  expect(newestFirst("done")).toStrictEqual(keysOf(over));
  expect(numbers("spec")).toStrictEqual(keysOf(tasks));
  expect(newestFirst("dead")).toStrictEqual(keysOf(over.filter(isDead)));
  const apart = over.filter(({ key }) => fromJson<DoneRow>(all.get(keys.done(key)) as Buffer).apart === true);
  expect(numbers("outcome")).toStrictEqual(keysOf(apart));
  const ends = under("ended").map(endIn);
  expect(ends.sort((a, b) => a.key - b.key)).toStrictEqual(
    over.filter(({ endedAt }) => endedAt !== undefined).map(({ key, endedAt }) => ({ at: endedAt, key })),
  );
  const attempts = [...model.attempts.entries()].flatMap(([key, rows]) => rows.map(({ n }) => keys.attempt(key, n)));
  expect(under("attempt")).toStrictEqual(attempts.sort());
  expect(under("submit")).toHaveLength(model.keys.size);
  expect(under("node")).toHaveLength(model.nodes.size);
  expect(under("token")).toHaveLength(model.tokens.size);
  expect(numbers("audit")).toStrictEqual(model.audit.map(({ seq }) => seq));
}
