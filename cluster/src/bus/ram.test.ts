import type { NodeId } from "@openclaw-cluster/contract/ids";
import { expect, test } from "vitest";
import { systemClock, type Clock } from "../system/clock.ts";
import { busConformance } from "./bus.conformance.ts";
import { simulatedEnvelopes } from "../../../tests/support/fake-keys.ts";
import { plainEnvelopes } from "./envelope-door.ts";
import { openRamNet, type Faults } from "./ram.ts";
import { COORDINATOR, subjectFits } from "./subjects.ts";

for (const [name, envelopes] of [
  ["ram", plainEnvelopes],
  ["ram, sealed", simulatedEnvelopes(1)],
] as const) {
  busConformance(name, async () => {
    const net = openRamNet({ clock: systemClock });
    const coordinator = net.connect("coordinator", systemClock, envelopes(COORDINATOR));
    const worker = net.connect("a", systemClock, envelopes("a"));
    const close = async (): Promise<void> => {
      await worker.close();
      await coordinator.close();
    };
    return { coordinator, worker, node: "a" as NodeId, close };
  });
}

/** Runs what was scheduled, in order of time. */
function handClock(): Clock & { run(): void } {
  const due: { at: number; run: () => void }[] = [];
  let now = 0;
  const after = (ms: number, run: () => void): { cancel(): void } => {
    const entry = { at: now + ms, run };
    due.push(entry);
    return { cancel: () => due.splice(due.indexOf(entry), 1) };
  };
  return {
    wall: () => now,
    monotonic: () => now,
    after,
    soon: (run) => void after(0, run),
    run() {
      for (let next = due.toSorted((a, b) => a.at - b.at)[0]; next !== undefined; next = due.toSorted((a, b) => a.at - b.at)[0]) {
        due.splice(due.indexOf(next), 1);
        now = next.at;
        next.run();
      }
    },
  };
}

function received(faults: Faults): unknown[] {
  const clock = handClock();
  const net = openRamNet({ clock, faults });
  const got: unknown[] = [];
  net.connect("b").subscribe("s.*", ({ body }) => got.push(body));
  const a = net.connect("a");
  for (const n of [1, 2, 3]) a.publish(`s.${n}`, n);
  clock.run();
  return got;
}

test("faults lose, double and delay single passages", () => {
  expect(received(() => [0])).toEqual([1, 2, 3]);
  expect(received(({ subject }) => (subject === "s.2" ? [] : [0]))).toEqual([1, 3]);
  expect(received(({ subject }) => (subject === "s.1" ? [0, 0] : [0]))).toEqual([1, 1, 2, 3]);
  expect(received(({ subject }) => (subject === "s.1" ? [50] : [0]))).toEqual([2, 3, 1]);
  expect(received(({ from, to }) => (from === "a" && to === "b" ? [] : [0]))).toEqual([]);
});

test("what is under way when the server dies is lost; what is sent afterwards arrives", () => {
  const clock = handClock();
  const net = openRamNet({ clock, faults: () => [50] });
  const got: unknown[] = [];
  net.connect("b").subscribe("s", ({ body }) => got.push(body));
  const a = net.connect("a");
  a.publish("s", "before");
  net.drop();
  a.publish("s", "after");
  clock.run();
  expect(got).toEqual(["after"]);
});

test("a lost answer makes a request time out, by the clock given", async () => {
  const clock = handClock();
  const net = openRamNet({ clock, faults: ({ to }) => (to === "a" ? [] : [0]) });
  let asked = 0;
  net.connect("b").subscribe("s", ({ respond }) => {
    asked += 1;
    respond?.("yes");
  });
  const answer = net.connect("a").request("s", {}, 1_000);
  clock.run();
  await expect(answer).rejects.toMatchObject({ code: "bus_timeout" });
  expect([asked, clock.monotonic()]).toEqual([1, 1_000]);
});

test("a closed bus tells its listeners, sends nothing and hears nothing", async () => {
  const net = openRamNet({ clock: systemClock });
  const [a, b] = [net.connect("a"), net.connect("b")];
  const states: boolean[] = [];
  const got: unknown[] = [];
  a.onStatus((connected) => states.push(connected));
  a.subscribe("s", ({ body }) => got.push(body));
  b.publish("s", 1);
  await a.close();
  a.publish("s", 2);
  await expect(a.request("s", {}, 10)).rejects.toMatchObject({ code: "bus_unreachable" });
  await expect(b.request("s", {}, 10)).rejects.toMatchObject({ code: "bus_unreachable" });
  expect([states, got, a.connected]).toEqual([[false], [], false]);
});

test.each([
  ["a.b", "a.b", true],
  ["a.b", "a.*", true],
  ["a.b", "a.>", true],
  ["a.b.c", "a.>", true],
  ["a", "a.>", false],
  ["a.b.c", "a.*", false],
  ["a.b", "a.b.c", false],
  ["a.b", "a", false],
  ["a.b", ">", true],
  ["a.b.c", "*.b.*", true],
])("%s fits %s: %s", (subject, pattern, fits) => {
  expect(subjectFits(subject, pattern)).toBe(fits);
});
