/** Whether a worker is heard, as it tells (H3 in heartbeat.ts). */
import { afterEach, beforeEach, expect, test } from "vitest";
import { WorkerGround } from "../../../tests/support/worker-ground.ts";
import type { Worker } from "./worker.ts";

const HEARTBEAT_MS = 2_000;

let ground: WorkerGround;
let worker: Worker;
let changes: boolean[];
beforeEach(async () => {
  ground = new WorkerGround();
  worker = await ground.open();
  await ground.settle();
  changes = [];
  worker.onHeard((heard) => {
    expect(worker.heard).toBe(heard);
    changes.push(heard);
  });
});
afterEach(() => ground.remove());

test("while each heartbeat is answered there is nothing to tell", async () => {
  await ground.pass(10 * HEARTBEAT_MS);
  expect([worker.heard, changes]).toEqual([true, []]);
});

test("a second heartbeat that finds the first unanswered tells it, and an answer ends it", async () => {
  ground.renewing = false;
  await ground.pass(2 * HEARTBEAT_MS - 100);
  expect(changes).toEqual([]);
  await ground.pass(HEARTBEAT_MS);
  expect([worker.heard, changes]).toEqual([false, [false]]);
  await ground.pass(5 * HEARTBEAT_MS);
  expect(changes).toEqual([false]);
  ground.renewing = true;
  await ground.pass(HEARTBEAT_MS);
  expect([worker.heard, changes]).toEqual([true, [false, true]]);
});

test("a coordinator that is not obeyed any more is no answer", async () => {
  ground.epoch = 2;
  await ground.pass(HEARTBEAT_MS);
  ground.epoch = 1;
  await ground.pass(3 * HEARTBEAT_MS);
  expect(changes).toEqual([false]);
});

test("where nobody listens, the first heartbeat tells", async () => {
  await ground.coordinator.close();
  await ground.pass(HEARTBEAT_MS);
  expect(changes).toEqual([false]);
});

test("what was unanswered over a connection that is gone says nothing of the next one", async () => {
  ground.renewing = false;
  await ground.pass(HEARTBEAT_MS);
  ground.bus.set(false);
  await ground.pass(3 * HEARTBEAT_MS);
  ground.renewing = true;
  ground.bus.set(true);
  await ground.settle();
  expect(changes).toEqual([]);
});

test("that the cluster is elsewhere is told once, and not of the first answer or of one that says nothing (H5)", async () => {
  let told = 0;
  worker.onPlaces(() => (told += 1));
  ground.places = "here";
  await ground.pass(2 * HEARTBEAT_MS);
  expect(told).toBe(0);
  ground.places = "there";
  await ground.pass(3 * HEARTBEAT_MS);
  expect(told).toBe(1);
  ground.places = undefined;
  await ground.pass(HEARTBEAT_MS);
  ground.places = "there";
  await ground.pass(HEARTBEAT_MS);
  expect(told).toBe(1);
});
