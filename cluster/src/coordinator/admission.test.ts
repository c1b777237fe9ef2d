import { ClusterError } from "@openclaw-cluster/contract/errors";
import { beforeEach, expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { ADMISSION, Admission, type Admitted } from "./admission.ts";

let clock: HandClock;
let admission: Admission;
let hurried: number;
beforeEach(() => {
  clock = new HandClock();
  hurried = 0;
  admission = new Admission(clock, () => (hurried += 1));
});

const nextPass = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
/** Lets so many in, and gives those who came in. */
function send(owner: string, count: number): Admitted[] {
  return Array.from({ length: count }, () => admission.admit(owner)).filter((one): one is Admitted => !(one instanceof ClusterError));
}

test("a burst is let in whole, and so is the next one after a rest", async () => {
  expect(send("a", 1_000)).toHaveLength(1_000);
  clock.advance(ADMISSION.waitMs - 1);
  expect(send("a", 1_000)).toHaveLength(1_000);
  await nextPass();
  await nextPass();
  clock.advance(ADMISSION.waitMs);
  expect(send("a", 1_000)).toHaveLength(1_000);
  expect(hurried).toBe(0);
});

test("a pass that takes too long lets nobody else in, and the turn runs at once", () => {
  send("a", ADMISSION.ownerPosts);
  clock.advance(ADMISSION.waitMs);
  expect(send("a", 10)).toHaveLength(0);
  expect(hurried).toBe(1);
});

test("the pass before counts too: what is read now has waited since it began", async () => {
  send("a", ADMISSION.ownerPosts);
  clock.advance(ADMISSION.waitMs - 10);
  await nextPass();
  expect(send("a", 1)).toHaveLength(1);
  clock.advance(10);
  expect(send("a", 1)).toHaveLength(0);
});

test("after a long pass they are short, until the flood is over", async () => {
  send("a", ADMISSION.ownerPosts);
  clock.advance(ADMISSION.waitMs);
  send("a", 1);
  const short = async (): Promise<number> => {
    await nextPass();
    await nextPass();
    send("a", 1);
    clock.advance(ADMISSION.shortMs);
    return send("a", 1).length;
  };
  expect(await short()).toBe(0);
  clock.advance(ADMISSION.shortForMs - 1);
  expect(await short()).toBe(1);
});

test("another owner's submit comes in whoever floods, but not more than its share", () => {
  send("flood", 100);
  clock.advance(ADMISSION.waitMs);
  expect(send("flood", 1)).toHaveLength(0);
  const [first] = send("other", ADMISSION.ownerPosts + 1);
  expect(send("other", 1)).toHaveLength(0);
  first?.leave();
  expect(send("other", 2)).toHaveLength(1);
});

test("no more than the limit wait, however fast they come and whosever they are", () => {
  const all = send("a", ADMISSION.waitingMax + 1);
  expect(all).toHaveLength(ADMISSION.waitingMax);
  expect(send("other", 1)).toHaveLength(0);
  all[0]?.leave();
  expect(send("other", 1)).toHaveLength(1);
});

test("Retry-After grows with the number of those who were refused, to its limit", async () => {
  const waits: (number | undefined)[] = [];
  for (const refused of [0, 8, 100]) {
    for (const one of send("a", ADMISSION.ownerPosts)) one.leave();
    const held = send("a", ADMISSION.ownerPosts);
    clock.advance(ADMISSION.waitMs);
    send("a", refused);
    waits.push(admission.refusal("a")?.retryAfterMs);
    for (const one of held) one.leave();
    clock.advance(10_000);
    await nextPass();
    await nextPass();
  }
  // What is said in one second follows from the one before.
  expect(waits).toEqual([1_000, 1_125, 2_125]);
  const held = send("a", ADMISSION.ownerPosts);
  clock.advance(ADMISSION.waitMs);
  expect(admission.refusal("a")?.retryAfterMs).toBe(ADMISSION.retryAfterMs.max);
  for (const one of held) one.leave();
});
