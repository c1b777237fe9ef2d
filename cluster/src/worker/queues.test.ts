/** The worker's two small memories: what waits, and what was met. */
import type { TaskId } from "@openclaw-cluster/contract/ids";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ref } from "../../../tests/support/worker-ground.ts";
import { Fifo } from "./fifo.ts";
import { Seen } from "./seen.ts";

test("a fifo behaves as an array does", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("add" as const), count: fc.integer({ min: 1, max: 900 }) }),
    fc.record({ kind: fc.constant("take" as const), count: fc.integer({ min: 1, max: 900 }) }),
    fc.record({ kind: fc.constant("putBack" as const), count: fc.integer({ min: 0, max: 3 }) }),
    fc.record({ kind: fc.constant("remove" as const), count: fc.integer({ min: 0, max: 2_000 }) }),
    fc.record({ kind: fc.constant("takeAll" as const), count: fc.constant(0) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const fifo = new Fifo<number>();
      let model: number[] = [];
      let next = 0;
      for (const { kind, count } of steps) {
        if (kind === "add") for (let added = 0; added < count; added++) fifo.add(model[model.push(next++) - 1] as number);
        if (kind === "take") for (let taken = 0; taken < count; taken++) expect(fifo.take()).toBe(model.shift());
        if (kind === "putBack") {
          const back = Array.from({ length: count }, () => next++);
          fifo.putBack(back);
          model = [...back, ...model];
        }
        if (kind === "remove") {
          const at = model.indexOf(count);
          expect(fifo.remove((item) => item === count)).toBe(at < 0 ? undefined : model.splice(at, 1)[0]);
        }
        if (kind === "takeAll") expect(fifo.takeAll()).toEqual(model.splice(0));
        expect([fifo.size, fifo.peek()]).toEqual([model.length, model[0]]);
      }
      expect([...fifo]).toEqual(model);
    }),
  );
});

test("what is held is never forgotten, and the newest tasks neither; the rest is, in time", () => {
  const seen = new Seen(() => [ref(1, 3)], 10);
  seen.note("t1" as TaskId, 3);
  for (let n = 2; n <= 100; n++) seen.note(`t${n}` as TaskId, 1);
  expect(seen.last("t1" as TaskId)).toBe(3);
  for (let n = 91; n <= 100; n++) expect(seen.last(`t${n}` as TaskId)).toBe(1);
  expect(seen.last("t2" as TaskId)).toBe(0);
});
