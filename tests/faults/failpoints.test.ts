/**
 * F07, F02: the process dies at every failpoint of the list, is started again, and what clients were told holds. A
 * failpoint that was never passed leaves its process alive, and so fails its test.
 */
import path from "node:path";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CRASH_AT, FAILPOINTS, type Failpoint } from "../../cluster/src/system/failpoint.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { startCluster, until, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { LOAD_POLICY, settleAll, startLoad } from "../support/mixed-load.ts";
import { Promises } from "../support/promises.ts";

const STRIKE_MS = 30_000;

let cluster: TestCluster;
let one: TestDaemon;
let two: TestDaemon;
const promises = new Promises();
beforeAll(async () => {
  cluster = await startCluster();
  one = await cluster.addWorker("one", { slots: 8, policy: LOAD_POLICY });
  two = await cluster.addWorker("two", { slots: 8, policy: LOAD_POLICY });
});
afterAll(() => cluster?.end());

const armed = (name: Failpoint): { env: Record<string, string> } => ({ env: { [CRASH_AT]: name } });

/** The daemon was killed, and by nothing else than the failpoint: nobody here has sent it a signal. */
async function struck(daemon: TestDaemon): Promise<void> {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error("the failpoint was never passed")), STRIKE_MS).unref();
  });
  expect(await Promise.race([daemon.ended(), late])).toMatchObject({ code: null });
}

/** Kills the daemon and starts it armed, under a load of which `strike` may do more; gives it back to life and checks. */
async function strikeAt(name: Failpoint, daemon: TestDaemon, strike: () => Promise<void> = () => Promise.resolve()): Promise<void> {
  await daemon.kill();
  await daemon.start(armed(name));
  const { sent } = startLoad(cluster.client, promises, path.join(cluster.folder, "effects"));
  const [striking] = await Promise.all([Promise.allSettled([strike()]), struck(daemon)]);
  await daemon.start();
  await sent;
  await checkAll();
  expect(striking).toHaveLength(1);
}

async function checkAll(): Promise<void> {
  await settleAll(cluster.client);
  expect(await promises.broken(cluster.client)).toEqual([]);
}

/** Dies while it starts, with work open from before. */
async function strikeStart(name: Failpoint, daemon: TestDaemon): Promise<void> {
  const { sent } = startLoad(cluster.client, promises, path.join(cluster.folder, "effects"));
  const before = promises.count;
  await until("some are answered", () => (promises.count > before ? true : undefined));
  await daemon.kill();
  await expect(daemon.start(armed(name))).rejects.toThrow(/ended/);
  await daemon.start();
  await sent;
  await checkAll();
}

/** Dies in the first start of a new home; the second one is a first start again, or goes on. */
async function strikeFirstStart(name: Failpoint): Promise<void> {
  const fresh = await startCluster({}, { first: armed(name) });
  try {
    await fresh.addWorker("only");
    expect(await fresh.client.run({ kind: "echo", input: { value: name } })).toMatchObject({ state: "succeeded", result: name });
  } finally {
    await fresh.end();
  }
}

let enrolments = 0;
/** A node is let in; the caller, who was not answered, asks again. */
async function strikeEnrol(name: Failpoint): Promise<void> {
  const id = `extra${(enrolments += 1)}` as NodeId;
  const { publicKey } = createNodeKeys();
  await strikeAt(name, cluster.lead, async () => {
    await expect(cluster.client.enrol({ id, publicKey })).rejects.toMatchObject({ code: "coordinator_unreachable" });
  });
  await cluster.client.enrol({ id, publicKey });
  promises.enrolled(id);
  await checkAll();
}

async function strikeStop(name: Failpoint): Promise<void> {
  await strikeAt(name, cluster.lead, async () => {
    const before = promises.count;
    await until("some are answered", () => (promises.count > before ? true : undefined));
    process.kill(cluster.lead.pid, "SIGTERM");
  });
}

async function strikeLoss(name: Failpoint): Promise<void> {
  await strikeAt(name, cluster.lead, async () => {
    await until("it runs something", async () => ((await cluster.client.node({ id: "two" as NodeId })).slotsUsed > 0 ? true : undefined));
    await two.kill();
    await two.start();
  });
}

/** It dies with a result in its spool, and then again while it takes that up. */
async function strikeTakeUp(name: Failpoint): Promise<void> {
  await one.kill();
  await one.start(armed("run.kept"));
  const { sent } = startLoad(cluster.client, promises, path.join(cluster.folder, "effects"));
  await struck(one);
  await expect(one.start(armed(name))).rejects.toThrow(/ended/);
  await one.start();
  await sent;
  await checkAll();
}

const inLoad = (name: Failpoint): Promise<void> => strikeAt(name, cluster.lead);
const inWorker = (name: Failpoint): Promise<void> => strikeAt(name, one);

const STRIKES: { readonly [Name in Failpoint]?: (name: Name) => Promise<void> } = {
  "start.drafted": strikeFirstStart,
  "start.token-committed": strikeFirstStart,
  "start.claimed": (name) => strikeStart(name, cluster.lead),
  "start.loaded": (name) => strikeStart(name, cluster.lead),
  "start.leading": (name) => strikeStart(name, cluster.lead),
  "stop.asked": strikeStop,
  "stop.told": strikeStop,
  "submit.asked": inLoad,
  "submit.applied": inLoad,
  "submit.committed": inLoad,
  "submit.answered": inLoad,
  "place.applied": inLoad,
  "place.committed": inLoad,
  "place.offered": inLoad,
  "report.applied": inLoad,
  "report.committed": inLoad,
  "report.answered": inLoad,
  "cancel.applied": inLoad,
  "cancel.committed": inLoad,
  "cancel.ordered": inLoad,
  "enrol.applied": strikeEnrol,
  "enrol.committed": strikeEnrol,
  "enrol.authorized": strikeEnrol,
  "alarm.applied": inLoad,
  "loss.applied": strikeLoss,
  "run.ended": inWorker,
  "run.kept": inWorker,
  "report.heard": inWorker,
  "report.forgotten": inWorker,
  "take-up.begun": strikeTakeUp,
};

describe("killed at", () => {
  test.each(Object.entries(STRIKES))("%s", async (name, strike) => {
    await (strike as (name: Failpoint) => Promise<void>)(name as Failpoint);
  });
});

test("a name that is not in the list ends the start", async () => {
  await cluster.lead.kill();
  await expect(cluster.lead.start({ env: { [CRASH_AT]: "submit.sometime" } })).rejects.toThrow(/takes name or name:n.*submit\.applied/);
  await cluster.lead.start();
  expect(Object.keys(FAILPOINTS).length).toBeGreaterThan(0);
});
