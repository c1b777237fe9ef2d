import { ClusterError } from "@openclaw-cluster/contract/errors";
import { afterEach, beforeEach, expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import type { Subscription } from "../bus/bus.ts";
import { silentLog } from "../system/log.ts";
import type { Admitted } from "./session.ts";
import { SESSION_WATCH, watchSession } from "./session-watch.ts";

const ADMITTED: Admitted = {
  ...{ cluster: "abcd1234", busUrls: ["nats://10.0.0.2:4222"], coordinatorKey: "U", coordinatorUrls: ["http://10.0.0.2:8888"] },
  at: "http://10.0.0.1:8888",
};

let clock: HandClock;
let connected: boolean;
let changed: (connected: boolean) => void;
let heard: boolean;
let hears: (heard: boolean) => void;
let moves: () => void;
let asked: AbortSignal[];
let answer: () => Promise<Admitted>;
let used: (readonly string[])[];
let told: Admitted[];
let removals: ClusterError[];
let watch: Subscription;
beforeEach(() => {
  clock = new HandClock();
  connected = true;
  heard = true;
  asked = [];
  used = [];
  told = [];
  removals = [];
  answer = async () => ADMITTED;
  watch = watchSession({
    ask: (signal) => {
      asked.push(signal);
      return answer();
    },
    told: async (admitted) => void told.push(admitted),
    removed: (error) => void removals.push(error),
    bus: {
      get connected() {
        return connected;
      },
      onStatus(listener) {
        changed = listener;
        return { stop: () => undefined };
      },
      reach: (urls) => void used.push(urls),
    },
    worker: {
      get heard() {
        return heard;
      },
      onHeard(listener) {
        hears = listener;
        return { stop: () => undefined };
      },
      onPlaces(listener) {
        moves = listener;
        return { stop: () => undefined };
      },
    },
    clock,
    random: () => 0.5,
    log: silentLog,
  });
});
afterEach(() => watch.stop());

const become = (state: boolean): void => {
  connected = state;
  changed(state);
};
const hear = (state: boolean): void => {
  heard = state;
  hears(state);
};
const settled = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

test("a bus that is away is asked for until it is back, and what is told is taken over (W1, W3)", async () => {
  become(false);
  clock.advance(SESSION_WATCH.awayMs - 1);
  expect(asked).toHaveLength(0);
  answer = () => Promise.reject(new ClusterError("coordinator_unreachable", "nobody"));
  for (let n = 1; n <= 3; n++) {
    clock.advance(SESSION_WATCH.awayMs);
    await settled();
    expect(asked).toHaveLength(n);
  }
  answer = async () => ADMITTED;
  clock.advance(SESSION_WATCH.awayMs);
  await settled();
  expect([used, told]).toEqual([[ADMITTED.busUrls], [ADMITTED]]);
  become(true);
  clock.advance(SESSION_WATCH.refreshMs - 1);
  expect(asked).toHaveLength(4);
});

test("a short absence asks nothing, and while all is well it asks now and then", async () => {
  become(false);
  clock.advance(SESSION_WATCH.awayMs / 2);
  become(true);
  clock.advance(SESSION_WATCH.refreshMs - SESSION_WATCH.awayMs / 2 - 1);
  expect(asked).toHaveLength(0);
  clock.advance(1);
  await settled();
  expect(told).toEqual([ADMITTED]);
});

test("where the bus stands and no coordinator answers, it asks until one does (W1)", async () => {
  hear(false);
  clock.advance(SESSION_WATCH.awayMs - 1);
  expect(asked).toHaveLength(0);
  for (let n = 1; n <= 3; n++) {
    clock.advance(n === 1 ? 1 : SESSION_WATCH.awayMs);
    await settled();
    expect(asked).toHaveLength(n);
  }
  expect(used).toEqual([ADMITTED.busUrls, ADMITTED.busUrls, ADMITTED.busUrls]);
  // It goes to another server.
  become(false);
  become(true);
  hear(true);
  clock.advance(SESSION_WATCH.refreshMs - 1);
  expect(asked).toHaveLength(3);
});

test("an answer that is late asks nothing, and however often that happens, it asks now and then", async () => {
  const lateMs = SESSION_WATCH.awayMs / 2;
  for (let passedMs = 0; passedMs < SESSION_WATCH.refreshMs; passedMs += 2 * lateMs) {
    expect(asked).toHaveLength(0);
    hear(false);
    clock.advance(lateMs);
    hear(true);
    clock.advance(lateMs);
  }
  await settled();
  expect(asked).toHaveLength(1);
});

test("places that are other ones are asked for soon, and once more where that was while a question was under way (W1, W2)", async () => {
  moves();
  moves();
  clock.advance(SESSION_WATCH.movedMs - 1);
  expect(asked).toHaveLength(0);
  const first = Promise.withResolvers<Admitted>();
  answer = () => first.promise;
  clock.advance(1);
  expect(asked).toHaveLength(1);
  moves();
  first.resolve(ADMITTED);
  await settled();
  clock.advance(SESSION_WATCH.movedMs);
  await settled();
  expect(asked).toHaveLength(2);
  clock.advance(SESSION_WATCH.refreshMs - 1);
  expect(asked).toHaveLength(2);
});

test("what is unheard while a question is under way waits for its end (W2)", async () => {
  const hung = Promise.withResolvers<Admitted>();
  answer = () => hung.promise;
  hear(false);
  clock.advance(10 * SESSION_WATCH.awayMs);
  expect(asked).toHaveLength(1);
  hung.resolve(ADMITTED);
  await settled();
  clock.advance(SESSION_WATCH.awayMs);
  expect(asked).toHaveLength(2);
});

test("one question at a time (W2)", async () => {
  const hung = Promise.withResolvers<Admitted>();
  answer = () => hung.promise;
  become(false);
  clock.advance(SESSION_WATCH.awayMs);
  become(true);
  become(false);
  clock.advance(10 * SESSION_WATCH.awayMs);
  expect(asked).toHaveLength(1);
  hung.resolve(ADMITTED);
  await settled();
  clock.advance(SESSION_WATCH.awayMs);
  expect(asked).toHaveLength(2);
});

test("that the cluster does not know the node is told, and a watch that is stopped asks no more", async () => {
  const error = new ClusterError("node_removed", "no such node");
  answer = () => Promise.reject(error);
  become(false);
  clock.advance(SESSION_WATCH.awayMs);
  await settled();
  expect(removals).toEqual([error]);
  watch.stop();
  expect(asked[0]?.aborted).toBe(true);
  clock.advance(SESSION_WATCH.refreshMs);
  expect(asked).toHaveLength(1);
});
