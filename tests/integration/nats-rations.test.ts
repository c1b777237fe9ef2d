/** How much of one node the coordinator hears on a real nats-server, where time stands still: its ration at once, and no more. */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Bus, Message } from "../../cluster/src/bus/bus.ts";
import { RATION, Rations } from "../../cluster/src/bus/rations.ts";
import { ANY_REPORT, reportFrom } from "../../cluster/src/bus/subjects.ts";
import { HandClock } from "../support/hand-clock.ts";
import { startTestNats, type TestNats } from "../support/nats.ts";

const [EVIL, HONEST] = ["evil" as NodeId, "honest" as NodeId];
const WAIT = { timeout: 10_000, interval: 5 };
const ASK_MS = 10_000;
const TEXT = "x".repeat(900_000);
/** What is needed for all of it, and what is beyond. */
const HEARD_MAX = Math.floor(RATION.bytesMax / (TEXT.length + RATION.messageBytes));
const SAID = HEARD_MAX + 30;

let nats: TestNats;
let clock: HandClock;
let evil: Bus;
let honest: Bus;
const heard = new Map<string, number>();
const refused: string[] = [];
let answer: (message: Message) => void = ({ respond }) => respond?.("heard");
beforeAll(async () => {
  clock = new HandClock();
  nats = await startTestNats({ rations: new Rations(clock) });
  const { coordinatorBus } = nats;
  coordinatorBus.onRefusal((party, why) => refused.push(`${party} ${why}`));
  coordinatorBus.subscribe(ANY_REPORT, (message) => {
    heard.set(message.subject, (heard.get(message.subject) ?? 0) + 1);
    answer(message);
  });
  [evil, honest] = [await nats.connectAs(EVIL), await nats.connectAs(HONEST)];
});
afterAll(() => nats?.stop());

test("beyond it nothing is heard, whatever it is; others are, and so is this one after a while", async () => {
  expect(await evil.request(reportFrom(EVIL), "first", ASK_MS)).toBe("heard");
  const before = heard.get(reportFrom(EVIL)) ?? 0;
  // One after the other: both ends are this one process, which cannot read while it writes.
  for (let n = 1; n <= SAID; n += 1) {
    evil.publish(reportFrom(EVIL), TEXT);
    await expect.poll(() => (heard.get(reportFrom(EVIL)) ?? 0) - before + refused.length, WAIT).toBe(n);
  }
  expect(heard.get(reportFrom(EVIL))).toBeLessThanOrEqual(before + HEARD_MAX);
  expect(new Set(refused)).toEqual(new Set(["evil excess"]));
  expect(await honest.request(reportFrom(HONEST), "work", ASK_MS)).toBe("heard");
  clock.advance(1_000);
  expect(await evil.request(reportFrom(EVIL), "later", ASK_MS)).toBe("heard");
});

test("what is news weighs nothing, so that work sets its own pace", async () => {
  clock.advance(1_000 * (RATION.bytesMax / RATION.bytesPerSecond));
  refused.length = 0;
  answer = ({ respond, wasNews }) => {
    wasNews?.();
    respond?.("heard");
  };
  for (let n = 0; n < SAID; n += 1) expect(await honest.request(reportFrom(HONEST), TEXT, ASK_MS)).toBe("heard");
  expect(refused).toEqual([]);
});

test("a message in parts is weighed part by part, and comes through", async () => {
  clock.advance(1_000 * (RATION.bytesMax / RATION.bytesPerSecond));
  expect(await honest.deliver(reportFrom(HONEST), TEXT, ASK_MS)).toBe("heard");
  expect(refused).toEqual([]);
});
