/** A reader beside a writer: it ends up with the same, through folds, lost watches and compaction, and reads on without a quorum. */
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { startTestEtcd, type TestEtcd } from "../../../tests/support/etcd.ts";
import { openEtcd } from "./etcd-gateway.ts";
import { Keys } from "./etcd-keys.ts";
import { openEtcdReader, type EtcdReader, type Heard } from "./etcd-reader.ts";
import { openEtcdStore, type EtcdStore } from "./etcd.ts";
import type { EtcdClient } from "./etcd-client.ts";
import { ATTEMPT, FULL, KEY, queued, succeeded } from "./store.fixtures.ts";
import { steps } from "./store.histories.ts";
import { compare, Model, play } from "./store.model.ts";
import type { Store } from "./store.ts";

const SOON = { timeout: 20_000, interval: 20 };

let etcd: TestEtcd;
beforeAll(async () => {
  etcd = await startTestEtcd();
});
afterAll(() => etcd.stop());

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

async function openBoth(
  prefix: string,
  client: EtcdClient = etcd.client,
): Promise<{ store: EtcdStore; reader: EtcdReader; epoch: number }> {
  const store = await openEtcdStore({ client: etcd.client, prefix, foldOperationsMax: 4 });
  const { epoch } = await store.claim();
  const reader = await openEtcdReader({ client, prefix });
  opened.push(store, reader);
  return { store, reader, epoch };
}

/** As much of a store as the comparison asks. */
const asStore = (reader: EtcdReader): Store => reader as unknown as Store;

it("equals the writer at the end of any history, folded or not", { timeout: 120_000 }, async () => {
  const folds = fc.array(fc.boolean(), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(steps, folds, async (history, folded) => {
      const { store, reader, epoch } = await openBoth(etcd.prefix());
      const model = new Model();
      model.epoch = epoch;
      for (const [at, step] of history.entries()) {
        await play(model, store, step, async () => store);
        if (folded[at % folded.length] === true) await store.fold();
      }
      await vi.waitFor(() => compare(model, asStore(reader), {}), SOON);
      await reader.close();
    }),
    { numRuns: 20 },
  );
});

it("says that it has heard everything, whether that is in the log or folded; and how old it is while it hears nothing", async () => {
  const hears = { all: true };
  const held = Promise.withResolvers<void>();
  const client: EtcdClient = {
    ...etcd.client,
    async *watch(prefix, from, signal) {
      for await (const changes of etcd.client.watch(prefix, from, signal)) {
        if (!hears.all) await held.promise;
        yield changes;
      }
    },
  };
  const { store, reader, epoch } = await openBoth(etcd.prefix(), client);
  expect(await reader.staleMs()).toBe(0);
  await store.commit({ epoch, created: [queued(1)] });
  expect(await reader.staleMs()).toBe(0);
  expect(reader.present().lastKey).toBe(1);
  await store.fold();
  expect(await reader.staleMs()).toBe(0);
  hears.all = false;
  await store.commit({ epoch, created: [queued(2)] });
  expect(await reader.staleMs()).toBeGreaterThan(0);
  // Also where nothing of it stands in the log any more.
  await store.fold();
  expect(await reader.staleMs()).toBeGreaterThan(0);
  held.resolve();
  await vi.waitFor(async () => expect(await reader.staleMs()).toBe(0), SOON);
});

it("follows while the writer works and folds by itself", { timeout: 60_000 }, async () => {
  const { store, reader, epoch } = await openBoth(etcd.prefix());
  const heard: Heard[] = [];
  reader.onChange((one) => heard.push(one));
  const ROUNDS = 150;
  for (let round = 1; round <= ROUNDS; round += 1) {
    const [first, second] = [queued(round * 2), queued(round * 2 + 1, { state: "failed", reason: "attempts_spent", endedAt: round })];
    await store.commit({
      epoch,
      created: [first, second],
      keys: [{ ...KEY, key: `k${round}` }],
      attempts: [{ task: second.key, attempt: ATTEMPT }],
    });
    await store.commit({ epoch, changed: [succeeded(first, round), { ...second, state: "queued", reason: "retried_by_hand" }] });
  }
  await vi.waitFor(async () => expect((await reader.load()).counts).toStrictEqual({ succeeded: ROUNDS, queued: ROUNDS }), SOON);
  expect(await reader.load()).toStrictEqual(await store.load());
  expect(heard).toHaveLength(ROUNDS * 2);
  expect(heard.at(-1)).toMatchObject({ kind: "batch", epoch, rows: { changed: [{ key: ROUNDS * 2, spec: { kind: "echo" } }, {}] } });
  await store.fold();
  await vi.waitFor(async () => expect(await reader.task(2)).toStrictEqual(await store.task(2)), SOON);
  expect(await reader.list({}, { limit: 500 })).toStrictEqual(await store.list({}, { limit: 500 }));
  expect(await reader.list({ dead: true }, { limit: 5 })).toStrictEqual({ tasks: [] });
  expect(await reader.attempts(3)).toStrictEqual([ATTEMPT]);
  expect(await reader.submitKey(KEY.owner, "k7")).toMatchObject({ key: "k7" });
});

it("hears of batches in parts", async () => {
  const { store, reader, epoch } = await openBoth(etcd.prefix());
  const created = Array.from({ length: 20 }, (_, at) =>
    queued(at + 1, { spec: { kind: "echo", input: { value: randomBytes(75_000).toString("base64") } } }),
  );
  await store.commit({ epoch, created });
  await vi.waitFor(async () => expect((await reader.load()).live).toStrictEqual(created), SOON);
  expect(reader.lag().revision).toBeGreaterThan(0);
  expect(reader.lag().heardAt).toBeLessThanOrEqual(Date.now());
});

it("knows that it has everything, before and after a fold, and with nothing in the log", async () => {
  const { store, reader, epoch } = await openBoth(etcd.prefix());
  expect(await reader.staleMs()).toBe(0);
  await store.commit({ epoch, created: [FULL, queued(2)] });
  expect(await reader.staleMs()).toBe(0);
  expect(await reader.task(2)).toStrictEqual(queued(2));
  await store.fold();
  expect(await reader.staleMs()).toBe(0);
  await store.commit({ epoch, changed: [succeeded(queued(2), 5)] });
  expect(await reader.staleMs()).toBe(0);
  expect(await reader.task(2)).toStrictEqual(succeeded(queued(2), 5));
  expect(reader.lag().entry).toBe(2);
});

it("loads anew where etcd has forgotten what it would go on with, and says so", { timeout: 60_000 }, async () => {
  const { promise: gate, resolve: openGate } = Promise.withResolvers<void>();
  const { client } = etcd;
  const late: EtcdClient = {
    ...client,
    async *watch(...args) {
      await gate;
      yield* client.watch(...args);
    },
  };
  const { store, reader, epoch } = await openBoth(etcd.prefix(), late);
  const heard: Heard[] = [];
  reader.onChange((one) => heard.push(one));
  await store.commit({ epoch, created: [FULL, queued(2)] });
  await store.fold();
  await store.commit({ epoch, changed: [succeeded(queued(2), 5)] });
  const { revision } = await client.status();
  await client.compact(revision);
  openGate();
  await vi.waitFor(async () => expect(await reader.load()).toStrictEqual(await store.load()), SOON);
  expect(heard[0]?.kind).toBe("loaded");
  await store.commit({ epoch, created: [queued(3)] });
  await vi.waitFor(async () => expect(await reader.task(3)).toStrictEqual(queued(3)), SOON);
});

it("reads on from its own member when most others are gone, also when it begins only then", { timeout: 120_000 }, async () => {
  const three = await startTestEtcd({ members: 3 });
  const near = openEtcd({ endpoints: [three.urls[0] as string] });
  try {
    const prefix = three.prefix();
    const store = await openEtcdStore({ client: three.client, prefix });
    const { epoch } = await store.claim();
    const reader = await openEtcdReader({ client: near, prefix });
    await store.commit({ epoch, created: [queued(1), FULL, queued(3)].sort((a, b) => a.key - b.key).slice(1) });
    await store.fold();
    await store.commit({ epoch, changed: [succeeded(queued(3), 5)] });
    await store.fold();
    await store.close();
    await vi.waitFor(async () => expect(await reader.task(3)).toStrictEqual(succeeded(queued(3), 5)), SOON);
    await three.killMember(1);
    await three.killMember(2);
    const other = await openEtcdReader({ client: near, prefix });
    for (const one of [reader, other]) {
      expect((await one.load()).live).toHaveLength(1);
      expect(await one.task(3)).toStrictEqual(succeeded(queued(3), 5));
      expect((await one.list({}, { limit: 5 })).tasks).toHaveLength(2);
    }
    await reader.close();
    await other.close();
  } finally {
    near.close();
    await three.stop();
  }
});

it("is left alone where a newer version has laid it out", async () => {
  const prefix = etcd.prefix();
  const store = await openEtcdStore({ client: etcd.client, prefix });
  await store.claim();
  await store.close();
  await etcd.client.transact({ when: [], then: [{ put: new Keys(prefix).layout, value: "2" }] });
  const refusal = { code: "store_unreadable", detail: expect.stringContaining("layout 2") as string };
  const other = await openEtcdStore({ client: etcd.client, prefix });
  await expect(other.claim()).rejects.toMatchObject(refusal);
  await expect(other.load()).rejects.toMatchObject(refusal);
  await other.close();
  await expect(openEtcdReader({ client: etcd.client, prefix })).rejects.toMatchObject(refusal);
});
