/** The judge of the fault tests is judged: shown a cluster that breaks a promise, it says which. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Client } from "@openclaw-cluster/contract/client/client";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import { taskId, type NodeId, type TaskId } from "@openclaw-cluster/contract/ids";
import type { Attempt, Task } from "@openclaw-cluster/contract/task";
import { afterAll, expect, test } from "vitest";
import { Promises } from "./support/promises.ts";

const folder = mkdtempSync(path.join(tmpdir(), "ocx-promises-"));
afterAll(() => rmSync(folder, { recursive: true }));

const ID = taskId(1);
const OTHER = taskId(2);
const NODE = "one" as NodeId;
const KEYED = { key: "batch-name", spec: { kind: "echo", input: { value: 7 } } } as const;
const attempt = (n: number, outcome: Attempt["outcome"]): Attempt =>
  ({ n, node: NODE, state: "ended", ...(outcome !== undefined && { outcome }), offeredAt: n }) as Attempt;
const FINE = { id: ID, state: "succeeded", attempt: 2, result: 7, spec: KEYED.spec, name: "name" } as Task;

interface Shown {
  tasks?: readonly Task[];
  attempts?: readonly Attempt[];
  repeatGives?: TaskId;
  nodes?: readonly NodeId[];
  epoch?: number;
}

/** A cluster that shows this, and nothing else. */
function showing({ tasks = [FINE], attempts, repeatGives = ID, nodes = [NODE], epoch = 1 }: Shown = {}): Client {
  return {
    // Two pages, so that whoever reads only the first finds nothing.
    listTasks: ({ cursor }: { cursor?: number } = {}) => Promise.resolve(cursor === undefined ? { tasks: [], next: 1 } : { tasks }),
    getTask: ({ id }: { id: TaskId }) => {
      const task = tasks.find((one) => one.id === id);
      return task === undefined ? Promise.reject(new ClusterError("not_found", "no such task")) : Promise.resolve(task);
    },
    attempts: () => Promise.resolve({ attempts: attempts ?? [attempt(1, "lost"), attempt(2, "succeeded")] }),
    submit: () => Promise.resolve({ id: repeatGives, state: "succeeded" }),
    nodes: () => Promise.resolve({ nodes: nodes.map((id) => ({ id })) }),
    cluster: () => Promise.resolve({ epoch }),
  } as unknown as Client;
}

function promised(): Promises {
  const promises = new Promises();
  promises.submitted(ID, KEYED);
  promises.ended(ID, "succeeded");
  promises.enrolled(NODE);
  return promises;
}

const labelled = (task: Task): Task => ({ ...task, spec: { ...KEYED.spec, labels: { batch: "batch" } } });
const told = (...states: Task["state"][]): ClusterEvent[] =>
  states.map((state, id) => ({ id, at: id, type: "task", task: ID, state, reason: "done", seq: id, attempt: 2 }));

test("nothing is said of a cluster that keeps its promises", async () => {
  expect(await promised().broken(showing(), told("queued", "running", "succeeded"))).toEqual([]);
  const unkeyed = new Promises();
  unkeyed.submitted(ID);
  expect(await unkeyed.broken(showing({ repeatGives: OTHER }))).toEqual([]);
  expect(await unkeyed.broken(showing({ tasks: [] }))).toEqual([expect.stringMatching(/is gone/)]);
});

test.each<[what: string, shown: Shown, complaint: RegExp]>([
  ["G1: a task is gone", { tasks: [] }, /is gone/],
  ["G1: a node is gone", { nodes: [] }, /one was let in and is gone/],
  ["G2: a task never ends", { tasks: [{ ...FINE, state: "running" }] }, /is running/],
  ["G2: it ends otherwise than was told", { tasks: [{ ...FINE, state: "failed" }] }, /told to be succeeded and is failed/],
  ["G3: a number was left out", { attempts: [attempt(2, "succeeded")] }, /has attempts 2 of 2/],
  ["G3: an attempt left no trace", { attempts: [attempt(1, "lost")] }, /has attempts 1 of 2/],
  ["G3: two were accepted", { attempts: [attempt(1, "succeeded"), attempt(2, "succeeded")] }, /has 2 accepted attempts, the first/],
  ["G3: not the last one was accepted", { attempts: [attempt(1, "succeeded"), attempt(2, "lost")] }, /the first of them is 1 of 2/],
  ["G3: none was accepted", { attempts: [attempt(1, "lost"), attempt(2, "lost")] }, /is succeeded with 0 accepted attempts/],
  ["G3: another task's result", { tasks: [{ ...FINE, result: 8 }] }, /result 8 instead of 7/],
  ["G4: a key stands for another task", { repeatGives: OTHER }, /when it is repeated/],
  ["G4: a key made two", { tasks: [FINE, { ...FINE, id: OTHER }].map(labelled) }, /made more than one task/],
])("%s", async (what, shown, complaint) => {
  const broken = await promised().broken(showing(shown));
  expect(broken.filter((one) => one.startsWith(what.slice(0, 4)) && complaint.test(one))).toHaveLength(1);
});

test("G2: an end that is told twice, or told otherwise than it is", async () => {
  expect(await promised().broken(showing(), told("succeeded", "succeeded"))).toEqual([expect.stringMatching(/^G2: .* end 2 times/)]);
  expect(await promised().broken(showing(), told("failed"))).toEqual([expect.stringMatching(/^G2: .* told to be failed and is succeeded/)]);
});

test("G4: two submits are answered with one task", async () => {
  const promises = promised();
  promises.submitted(ID, { ...KEYED, key: "batch-other" });
  expect(await promises.broken(showing())).toContainEqual(expect.stringMatching(/^G4: .* answered to two submits/));
});

test("G5: what must not run twice did, and what may did", async () => {
  const promises = promised();
  for (const [name, onLost, runs] of [
    ["once", "ask", 1],
    ["twice", "ask", 2],
    ["again", "retry", 2],
  ] as const) {
    promises.effectIn(path.join(folder, name), onLost);
    writeFileSync(path.join(folder, name), "ran\n".repeat(runs));
  }
  expect(await promises.broken(showing())).toEqual([expect.stringMatching(/^G5: .*twice .* ran 2 times/)]);
});

test("G6: a cancel that was answered does not hold", async () => {
  const promises = new Promises();
  promises.submitted(ID, KEYED);
  promises.cancelled(ID);
  expect(await promises.broken(showing())).toEqual([expect.stringMatching(/told to be cancelled and is succeeded/)]);
});

test("I7: the term goes back", async () => {
  const promises = promised();
  expect(await promises.broken(showing({ epoch: 3 }))).toEqual([]);
  expect(await promises.broken(showing({ epoch: 2 }))).toEqual(["I7: the epoch was 3 and is 2"]);
});
