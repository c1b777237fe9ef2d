import { expect, test, vi } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { silentLog } from "./log.ts";
import { openPowerWatch, POWER_LOOK_MS, type PowerWatch } from "./power.ts";
import type { Power } from "./power-reading.ts";

type Reading = PromiseWithResolvers<Power>;

function stage(): {
  power: PowerWatch;
  clock: HandClock;
  readings: Reading[];
  warnings: string[];
  heard: boolean[];
  listen(): { stop(): void };
} {
  const clock = new HandClock();
  const readings: Reading[] = [];
  const warnings: string[] = [];
  const heard: boolean[] = [];
  const log = Object.create(silentLog, { warn: { value: (_fields: object, text: string) => warnings.push(text) } }) as typeof silentLog;
  const read = (): Promise<Power> => {
    readings.push(Promise.withResolvers<Power>());
    return (readings.at(-1) as Reading).promise;
  };
  const power = openPowerWatch({ read, clock, log });
  return { power, clock, readings, warnings, heard, listen: () => power.onChange(() => heard.push(power.onBattery)) };
}

/** What was resolved has been taken up. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("is read at once where somebody listens, again while they do, and not otherwise (W3)", async () => {
  const { power, clock, readings, heard, listen } = stage();
  clock.advance(10 * POWER_LOOK_MS);
  expect(readings).toHaveLength(0);
  const listening = listen();
  expect([readings.length, power.onBattery]).toEqual([1, false]);
  readings[0]?.resolve("battery");
  await vi.waitFor(() => expect(power.onBattery).toBe(true));
  clock.advance(POWER_LOOK_MS - 1);
  expect(readings).toHaveLength(1);
  clock.advance(1);
  readings[1]?.resolve("battery");
  await settled();
  clock.advance(POWER_LOOK_MS);
  readings[2]?.resolve("mains");
  await vi.waitFor(() => expect(power.onBattery).toBe(false));
  expect(heard).toEqual([true, false]);
  listening.stop();
  clock.advance(10 * POWER_LOOK_MS);
  expect(readings).toHaveLength(3);
});

test("listeners that come and go do not make it read more often (W3)", async () => {
  const { clock, readings, listen } = stage();
  for (let line = 0; line < 5; line++) {
    const listening = listen();
    readings.at(-1)?.resolve("mains");
    await settled();
    clock.advance(1_000);
    listening.stop();
  }
  expect(readings).toHaveLength(1);
  const two = [listen(), listen()];
  clock.advance(POWER_LOOK_MS - 5_000);
  expect(readings).toHaveLength(2);
  two[0]?.stop();
  readings.at(-1)?.resolve("mains");
  await settled();
  clock.advance(POWER_LOOK_MS);
  expect(readings).toHaveLength(3);
});

test("what cannot be told counts as mains, and is logged once (W1)", async () => {
  const { power, clock, readings, warnings, heard, listen } = stage();
  listen();
  readings[0]?.resolve("battery");
  await vi.waitFor(() => expect(power.onBattery).toBe(true));
  for (const at of [1, 2]) {
    clock.advance(POWER_LOOK_MS);
    readings[at]?.reject(new Error("gone"));
    await settled();
  }
  expect([power.onBattery, heard, warnings.length]).toEqual([false, [true, false], 1]);
});

test("a reading that takes too long counts as none, and no other begins beside it (W2)", async () => {
  const { power, clock, readings, warnings, listen } = stage();
  listen();
  readings[0]?.resolve("battery");
  await vi.waitFor(() => expect(power.onBattery).toBe(true));
  clock.advance(POWER_LOOK_MS);
  clock.advance(2_999);
  expect(power.onBattery).toBe(true);
  clock.advance(1);
  expect([power.onBattery, warnings.length]).toEqual([false, 1]);
  clock.advance(5 * POWER_LOOK_MS);
  expect(readings).toHaveLength(2);
  readings[1]?.resolve("battery");
  await vi.waitFor(() => expect(power.onBattery).toBe(true));
  clock.advance(POWER_LOOK_MS);
  expect(readings).toHaveLength(3);
});
