/** What the etcd store does where a process dies, answers are lost or come late, others claim, batches are large, and etcd is full. */
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startTestEtcd, type TestEtcd } from "../../../tests/support/etcd.ts";
import { Died, contents, dying, expectTidy, lossy, repeating, wrapped } from "./etcd.fixtures.ts";
import { openEtcdStore, type EtcdStore, type EtcdStoreOptions } from "./etcd.ts";
import { EtcdFault, type EtcdClient } from "./etcd-client.ts";
import { Keys } from "./etcd-keys.ts";
import { systemClock } from "../system/clock.ts";
import { ATTEMPT, queued, succeeded } from "./store.fixtures.ts";
import { steps, type Step } from "./store.histories.ts";
import { compare, Model, play } from "./store.model.ts";
import { StoreBroken, StoreFenced, type Store } from "./store.ts";

let etcd: TestEtcd;
beforeAll(async () => {
  etcd = await startTestEtcd();
});
afterAll(() => etcd.stop());

/** A fold of a few tasks then has many of them. */
const SMALL_STEPS = { foldOperationsMax: 4 };
/** Tries again, and folds, soon. */
const HASTY = {
  ...SMALL_STEPS,
  clock: { ...systemClock, after: (ms: number, run: () => void) => systemClock.after(Math.min(ms, 5), run) },
};

const opened: EtcdStore[] = [];
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
});

async function open(
  prefix: string,
  client: EtcdClient = etcd.client,
  options: Partial<EtcdStoreOptions> = SMALL_STEPS,
): Promise<EtcdStore> {
  const store = await openEtcdStore({ client, prefix, ...options });
  opened.push(store);
  return store;
}

/** Plays the history, folding after each step that asks for it. */
async function playAll(model: Model, store: EtcdStore, history: readonly Step[], folds: readonly boolean[]): Promise<void> {
  const reopen = async (): Promise<Store> => store;
  for (const [at, step] of history.entries()) {
    await play(model, store, step, reopen);
    if (folds[at % folds.length] === true) await store.fold();
  }
}

const someFolds = fc.array(fc.boolean(), { minLength: 1, maxLength: 5 });

/** The history up to where the process died, on a model. A commit that it died in has happened if the store says so. */
async function modelAfter(history: readonly Step[], played: number, store: Store, epoch: number): Promise<Model> {
  const model = new Model();
  model.epoch = epoch;
  const carryOut = (step: Step | undefined): void => {
    if (step?.kind === "commit") model.commit(step);
    if (step?.kind === "prune") model.prune(step);
  };
  for (const step of history.slice(0, played)) carryOut(step);
  const step = history[played];
  const { auditHead } = await store.load();
  if (step?.kind === "prune") await store.prune({ ...step, limit: 1_000 });
  if (step?.kind === "prune" || auditHead.seq > model.audit.length) carryOut(step);
  return model;
}

/** Every task has ended, whatever it was. */
function endAll({ tasks }: Model): Extract<Step, { kind: "commit" }> {
  const to = {
    state: "succeeded",
    reason: "done",
    seq: 9,
    attempt: 1,
    failures: 0,
    losses: 0,
    queuedAt: 1,
    acted: false,
    endedAt: 7,
  } as const;
  return { kind: "commit", created: [], changed: Array.from(tasks, (_, of) => ({ of, to })), attempts: [], rest: {}, audit: ["end"] };
}

interface Death {
  readonly n: number;
  readonly when: "before" | "after";
  /** Whether everything changes once more before the next one folds. */
  readonly isChanged: boolean;
}

async function dieAndGoOn(history: readonly Step[], folds: readonly boolean[], { n, when, isChanged }: Death): Promise<boolean> {
  const prefix = etcd.prefix();
  const client = dying(etcd.client, n, when);
  const store = await open(prefix, client);
  const model = new Model();
  let played = 0;
  try {
    model.epoch = (await store.claim()).epoch;
    for (const [at, step] of history.entries()) {
      await playAll(model, store, [step], [false]);
      played += 1;
      if (folds[at % folds.length] === true) await store.fold();
    }
  } catch (error) {
    if (!(error instanceof Died)) throw error;
  }
  const next = await open(prefix);
  const { epoch } = await next.claim();
  const expected = await modelAfter(history, played, next, epoch);
  await compare(expected, next, {});
  // Half a fold may lie under these.
  if (isChanged) await next.commit(expected.commit(endAll(expected)));
  await next.fold();
  await compare(expected, next, { dead: true });
  if ((await next.load()).auditHead.seq + expected.tasks.size > 0) await expectTidy(etcd.client, prefix, expected);
  await compare(expected, await open(prefix), {});
  return client.calls() >= n;
}

/** Every commit tells by its entry in the audit log whether it was taken. */
const audited = steps.map((history) =>
  history.map((step) => (step.kind === "commit" ? { ...step, audit: [...step.audit, "here"] } : step)),
);

describe("a process that dies", () => {
  it("at any step of any history leaves what it committed, and nothing else", { timeout: 120_000 }, async () => {
    const deaths = fc.record({
      n: fc.integer({ min: 1, max: 80 }),
      when: fc.constantFrom("before" as const, "after" as const),
      isChanged: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(audited, someFolds, deaths, async (history, folds, death) => {
        await dieAndGoOn(history, folds, death);
      }),
      { numRuns: 40 },
    );
  });

  it("at each step of this one", { timeout: 120_000 }, async () => {
    const history = fc.sample(audited, { seed: 11, numRuns: 40 }).sort((a, b) => b.length - a.length)[0] as Step[];
    let n = 1;
    while (await dieAndGoOn(history, [true, false], { n, when: n % 2 === 0 ? "before" : "after", isChanged: true })) n += 1;
    expect(n).toBeGreaterThan(20);
  });
});

describe("a network that", () => {
  it("loses answers and requests loses and doubles nothing", { timeout: 120_000 }, async () => {
    const picks = fc.array(fc.constantFrom("answer", "request", "none", "none"), { minLength: 3, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(steps, someFolds, picks, async (history, folds, lost) => {
        const prefix = etcd.prefix();
        const store = await open(prefix, lossy(etcd.client, [...lost, "none"]), HASTY);
        const model = new Model();
        model.epoch = (await store.claim()).epoch;
        await playAll(model, store, history, folds);
        await compare(model, store, {});
        await compare(model, await open(prefix), {});
      }),
      { numRuns: 8 },
    );
  });

  it("brings messages once more and late changes nothing", { timeout: 120_000 }, async () => {
    const delays = fc.array(fc.nat(12), { minLength: 1, maxLength: 7 });
    await fc.assert(
      fc.asyncProperty(steps, someFolds, delays, async (history, folds, late) => {
        const prefix = etcd.prefix();
        const store = await open(prefix, repeating(etcd.client, late), HASTY);
        const model = new Model();
        model.epoch = (await store.claim()).epoch;
        await playAll(model, store, history, folds);
        await compare(model, store, {});
        const next = await open(prefix);
        model.epoch = (await next.claim()).epoch;
        await compare(model, next, {});
        await next.commit({ epoch: model.epoch, tokensRemoved: ["nobody"] });
        await next.fold();
        await expectTidy(etcd.client, prefix, model);
      }),
      { numRuns: 25 },
    );
  });
});

/** Pauses are short, and nothing is folded of its own accord. */
const impatient = () => ({ ...systemClock, after: (ms: number, run: () => void) => systemClock.after(ms < 200 ? 1 : 3_600_000, run) });

it("what a failed fold has sent changes nothing when it comes in the midst of the next one", async () => {
  const held: (() => Promise<unknown>)[] = [];
  let isHeld = false;
  let now = 0;
  const client = wrapped(etcd.client, async (send, { then }) => {
    if (isHeld) {
      held.push(send);
      throw new EtcdFault("undecided", "held up", { mayHaveHappened: true });
    }
    // The next fold is about to move the head.
    if (then.some((operation) => "deleteRange" in operation)) for (const late of held.splice(0)) await late();
    return send();
  });
  const prefix = etcd.prefix();
  const store = await open(prefix, client, { clock: { ...impatient(), monotonic: () => (now += 10_000) } });
  const { epoch } = await store.claim();
  await store.commit({ epoch, created: [queued(1)] });
  isHeld = true;
  await expect(store.fold()).rejects.toMatchObject({ code: "unavailable" });
  isHeld = false;
  expect(held.length).toBeGreaterThan(0);
  await store.commit({ epoch, changed: [queued(1, { seq: 9 })] });
  await store.fold();
  expect(held).toHaveLength(0);
  expect((await (await open(prefix)).load()).live).toStrictEqual([queued(1, { seq: 9 })]);
});

it("an etcd that is away for long is told, breaks only a commit, and a fold goes on when it is back", { timeout: 60_000 }, async () => {
  let isAway = false;
  const client = wrapped(etcd.client, async (send) => {
    if (isAway) throw new EtcdFault("undecided", "away", { mayHaveHappened: true });
    return send();
  });
  // Its patience is over at once: each look at the clock is ten seconds later.
  let now = 0;
  const clock = { ...impatient(), monotonic: () => (now += 10_000) };
  const prefix = etcd.prefix();
  const store = await open(prefix, client, { clock });
  const { epoch } = await store.claim();
  await store.commit({ epoch, created: [queued(1)] });
  isAway = true;
  await expect(store.fold()).rejects.toMatchObject({ code: "unavailable" });
  await expect(store.prune({ endedBefore: 1, limit: 1 })).rejects.toThrow();
  isAway = false;
  await store.commit({ epoch, changed: [succeeded(queued(1), 5)] });
  await store.fold();
  expect(await (await open(prefix)).load()).toMatchObject({ live: [], counts: { succeeded: 1 } });
  const other = await open(etcd.prefix(), client, { clock });
  isAway = true;
  await expect(other.claim()).rejects.toMatchObject({ code: "unavailable" });
  isAway = false;
  expect((await other.claim()).epoch).toBe(1);
  isAway = true;
  await expect(other.commit({ epoch: 1, created: [queued(1)] })).rejects.toThrow(StoreBroken);
  isAway = false;
  await expect(other.load()).rejects.toThrow(StoreBroken);
});

it("of two that contend one commits at a time, and the other is told", { timeout: 60_000 }, async () => {
  const prefix = etcd.prefix();
  const stores = [await open(prefix), await open(prefix)];
  const epochs: number[] = [];
  const accepted: string[] = [];
  const work = async (store: EtcdStore, name: string): Promise<void> => {
    for (let round = 0; round < 25; round += 1) {
      try {
        const { epoch } = await store.claim();
        epochs.push(epoch);
        for (let commit = 0; commit < 4; commit += 1) {
          const key = (await store.load()).lastKey + 1;
          const mark = `${name} ${round} ${commit}`;
          await store.commit({ epoch, created: [queued(key, { token: mark })] });
          accepted.push(mark);
          if (commit === 2) await store.fold();
        }
      } catch (error) {
        if (!(error instanceof StoreFenced)) throw error;
      }
    }
  };
  await Promise.all(stores.map((store, at) => work(store, `s${at}`)));
  expect(new Set(epochs).size).toBe(epochs.length);
  const { live } = await (await open(prefix)).load();
  expect(live.map(({ token }) => token).sort()).toStrictEqual(accepted.sort());
});

it("takes the seat together with what the terms say, or not at all", async () => {
  const prefix = etcd.prefix();
  const leader = `${prefix}leader`;
  const [one, two] = [await open(prefix), await open(prefix)];
  const terms = (name: string) => ({ when: [{ key: leader, exists: false }], then: [{ put: leader, value: name }] });
  const { epoch } = await one.claim(terms("one"));
  await expect(two.claim(terms("two"))).rejects.toThrow(StoreFenced);
  await one.commit({ epoch, created: [queued(1)] });
  expect((await contents(etcd.client, prefix)).get(leader)?.toString()).toBe("one");
  await etcd.client.transact({ when: [], then: [{ delete: leader }] });
  await two.claim(terms("two"));
  await expect(one.commit({ epoch, created: [queued(2)] })).rejects.toThrow(StoreFenced);
  await expect(one.commit({ epoch })).rejects.toThrow(StoreFenced);
});

it("refuses who was replaced, also where what it writes is history that its successor has folded already", async () => {
  const prefix = etcd.prefix();
  const [one, two] = [await open(prefix), await open(prefix)];
  const { epoch } = await one.claim();
  await one.commit({ epoch, created: [queued(1)] });
  await one.fold();
  const next = await two.claim();
  await two.commit({ epoch: next.epoch, attempts: [{ task: 1, attempt: ATTEMPT }] });
  await two.fold();
  await expect(one.commit({ epoch, attempts: [{ task: 1, attempt: ATTEMPT }] })).rejects.toThrow(StoreFenced);
  // The same from its successor is a fault of ours.
  await expect(two.commit({ epoch: next.epoch, attempts: [{ task: 1, attempt: ATTEMPT }] })).rejects.toThrow(/twice/);
});

/** Random, so that it cannot be packed. */
const value = (bytes: number) => ({ kind: "echo" as const, input: { value: randomBytes((bytes / 4) * 3).toString("base64") } });

describe("a large batch", () => {
  it.each([
    [5_000, 1_000],
    [40, 200_000],
  ])("of %i tasks of %i bytes is taken whole, and read again", { timeout: 60_000 }, async (count, bytes) => {
    const prefix = etcd.prefix();
    const store = await open(prefix, etcd.client, {});
    const { epoch } = await store.claim();
    const created = Array.from({ length: count }, (_, at) => queued(at + 1, { spec: value(bytes) }));
    await store.commit({ epoch, created });
    const other = await open(prefix, etcd.client, {});
    expect((await other.load()).live).toStrictEqual(created);
    await store.commit({ epoch, changed: created.map((task) => succeeded(task, 5)) });
    await store.fold();
    expect((await store.load()).counts).toStrictEqual({ succeeded: count });
    expect((await other.load()).live).toStrictEqual([]);
    const page = await other.list({}, { limit: 100 });
    expect(page.tasks[0]).toStrictEqual(succeeded(created.at(-1)!, 5));
    expect(await store.task(1)).toStrictEqual(succeeded(created[0]!, 5));
  });

  it("that was cut off in its midst is none, and its parts are swept", async () => {
    const prefix = etcd.prefix();
    const client = dying(etcd.client, 9, "after");
    const store = await open(prefix, client, {});
    const { epoch } = await store.claim();
    const created = Array.from({ length: 40 }, (_, at) => queued(at + 1, { spec: value(200_000) }));
    await expect(store.commit({ epoch, created })).rejects.toThrow(Died);
    const parts = async (): Promise<number> =>
      [...(await contents(etcd.client, prefix)).keys()].filter((key) => key.startsWith(new Keys(prefix).folder("part"))).length;
    expect(await parts()).toBeGreaterThan(0);
    const next = await open(prefix, etcd.client, {});
    await next.claim();
    expect(await parts()).toBe(0);
    expect((await next.load()).lastKey).toBe(0);
  });

  it("with a task that no request can hold is refused, and changes nothing", async () => {
    const store = await open(etcd.prefix());
    const { epoch } = await store.claim();
    const huge = store.commit({ epoch, created: [queued(1), queued(2, { spec: value(1_800_000) })] });
    await expect(huge).rejects.toMatchObject({ code: "payload_too_large" });
    await store.commit({ epoch, created: [queued(1)] });
    expect((await store.load()).live).toStrictEqual([queued(1)]);
  });
});

it("many submit keys that are asked for at once are read together", async () => {
  const prefix = etcd.prefix();
  const asked: number[] = [];
  const counting = wrapped(etcd.client, (send, { then }) => (asked.push(then.length), send()));
  const store = await open(prefix, counting);
  const { epoch } = await store.claim();
  const keys = Array.from({ length: 300 }, (_, at) => ({ owner: "ann", key: `k${at}`, bodyHash: `h${at}`, runs: [], at: 1 }));
  await store.commit({ epoch, keys: keys.filter((_, at) => at % 2 === 0) });
  await store.fold();
  asked.length = 0;
  const found = await Promise.all(keys.map(({ owner, key }) => store.submitKey(owner, key)));
  expect(found).toStrictEqual(keys.map((key, at) => (at % 2 === 0 ? key : undefined)));
  expect(asked).toStrictEqual([128, 128, 44]);
  expect(await store.submitKey("ann", "k2")).toStrictEqual(keys[2]);
});

it("an etcd that is full refuses the batch and nothing else", { timeout: 60_000 }, async () => {
  const small = await startTestEtcd({ quotaBytes: 16 * 1_024 * 1_024 });
  try {
    const prefix = small.prefix();
    const store = await open(prefix, small.client, {});
    const { epoch } = await store.claim();
    let key = 0;
    const fill = async (): Promise<void> => {
      for (; key < 500; key += 1) await store.commit({ epoch, created: [queued(key + 1, { spec: value(200_000) })] });
    };
    await expect(fill()).rejects.toMatchObject({ code: "storage_full" });
    expect(key).toBeGreaterThan(10);
    expect((await store.load()).lastKey).toBe(key);
    await expect(store.commit({ epoch, created: [queued(key + 1)] })).rejects.toMatchObject({ code: "storage_full" });
    expect(await store.task(key + 1)).toBeUndefined();
    expect((await (await open(prefix, small.client, {})).load()).lastKey).toBe(key);
    await store.commit({ epoch });
  } finally {
    await Promise.all(opened.splice(0).map((store) => store.close()));
    await small.stop();
  }
});
