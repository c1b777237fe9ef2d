import type { NodeId } from "@openclaw-cluster/contract/ids";
import { expect, it } from "vitest";
import { Scheduler } from "../core/scheduling/scheduler.ts";
import { cancel, create, lease, lose, retryByHand } from "../core/settle.ts";
import type { TaskRecord } from "../core/task.ts";
import { Ledger } from "./ledger.ts";

const node = "studio" as NodeId;
const placement = { node, strategy: "balanced", at: 0, scored: [], refused: [] } as const;
const open = (): Ledger => new Ledger(new Scheduler({ strategy: "balanced" }), { live: [], counts: {}, lastKey: 0 });
const fresh = (key: number): TaskRecord => create(key, { kind: "echo", input: {} }, "me", 0);

it("gives each record once, as it is last, new ones apart from changed ones", () => {
  const ledger = open();
  ledger.create(fresh(1));
  ledger.create(fresh(2));
  ledger.write(fresh(1), { task: cancel(fresh(1), 5) as TaskRecord });
  expect(ledger.take()).toMatchObject({
    created: [
      { key: 1, state: "cancelled" },
      { key: 2, state: "queued" },
    ],
    changed: [],
  });
  expect(ledger.take()).toBeUndefined();
  const task = ledger.get(2) as TaskRecord;
  ledger.write(task, { task: cancel(task, 6) as TaskRecord });
  expect(ledger.take()).toMatchObject({ created: [], changed: [{ key: 2, state: "cancelled" }] });
  expect(ledger.size).toBe(0);
});

it("a task that ends and is retried by hand in one turn is kept as retried", () => {
  const ledger = open();
  ledger.create(fresh(1));
  ledger.take();
  const over = cancel(fresh(1), 5) as TaskRecord;
  ledger.write(fresh(1), { task: over });
  ledger.revive(over, retryByHand(over, 6) as TaskRecord);
  expect(ledger.take()).toMatchObject({ created: [], changed: [{ key: 1, state: "queued", reason: "retried_by_hand" }] });
  expect(ledger.get(1)?.state).toBe("queued");
});

it("keeps leases, queue and counts in step with the records", () => {
  const ledger = open();
  ledger.create(fresh(1));
  expect(ledger.scheduler.size).toBe(1);
  // As placing does it: the scheduler takes the task from its queue and reserves for it.
  ledger.scheduler.dequeue(1);
  const leased = lease(fresh(1), placement, 1, 1);
  ledger.scheduler.reserve(leased, node);
  ledger.write(fresh(1), { task: leased });
  expect([...ledger.leasesOf(node)]).toEqual([1]);
  expect(ledger.counts).toMatchObject({ queued: 0, leased: 1 });
  const lost = lose(leased, 2, true);
  ledger.write(leased, lost);
  expect([...ledger.leasesOf(node)]).toEqual([]);
  expect(ledger.scheduler.has(1)).toBe(true);
  expect(ledger.scheduler.used(node).slots).toBe(0);
  expect(ledger.take()?.attempts).toMatchObject([{ task: 1, attempt: { outcome: "lost" } }]);
});

it("counts what live tasks take, and nothing once they are over", () => {
  const ledger = open();
  expect(ledger.bytes).toBe(0);
  for (const key of [1, 2, 3]) ledger.create(fresh(key));
  const each = ledger.bytes / 3;
  expect(each).toBeGreaterThan(0);
  const cancelled = cancel(fresh(1), 5) as TaskRecord;
  ledger.write(fresh(1), { task: cancelled });
  expect(ledger.bytes).toBe(2 * each);
  ledger.revive(cancelled, retryByHand(cancelled, 6) as TaskRecord);
  expect(ledger.bytes).toBe(3 * each);
  const restored = new Ledger(new Scheduler({ strategy: "balanced" }), { live: [fresh(1), fresh(2)], counts: {}, lastKey: 2 });
  expect(restored.bytes).toBe(2 * each);
});
