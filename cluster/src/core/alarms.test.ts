import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import fc from "fast-check";
import { expect, it } from "vitest";
import { Alarms } from "./alarms.ts";
import { create } from "./settle.ts";

const at = (key: number, runAt: number) => create(key, { kind: "echo", input: {}, runAt } as TaskSpec, "me", -1);

it("rings in order of time, whatever the order of setting", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(1_000), { minLength: 1, maxLength: 200 }), (times) => {
      const alarms = new Alarms();
      for (const [key, time] of times.entries()) alarms.set(at(key, time), true);
      expect(alarms.next()).toBe(Math.min(...times));
      const rung = alarms.due(1_000, 1_000).map((key) => times[key]);
      expect(rung).toEqual([...times].sort((a, b) => a - b));
      expect(alarms.next()).toBeUndefined();
    }),
  );
});

it("gives only what is due, and no more than asked", () => {
  const alarms = new Alarms();
  for (const key of [1, 2, 3]) alarms.set(at(key, key * 10), true);
  expect(alarms.due(5, 10)).toEqual([]);
  expect(alarms.due(25, 1)).toEqual([1]);
  expect(alarms.due(25, 10)).toEqual([2]);
});
