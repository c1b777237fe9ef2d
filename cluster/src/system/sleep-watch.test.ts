import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { announcedSleep, type AnnouncedSleep } from "../../../tests/support/announced-sleep.ts";
import { until } from "../../../tests/support/daemon.ts";
import { systemClock } from "./clock.ts";
import { silentLog } from "./log.ts";
import { sleepProgram } from "./sleep-programs.ts";
import { openSleepWatch, type SleepWatch } from "./sleep-watch.ts";

describe.runIf(process.platform === "linux")("on Linux", () => {
  let logind: AnnouncedSleep;
  let watch: SleepWatch | undefined;
  let ready: PromiseWithResolvers<void>;
  let heard: string[];

  beforeEach(async () => {
    logind = announcedSleep();
    ready = Promise.withResolvers<void>();
    heard = [];
    watch = openSleepWatch({
      clock: systemClock,
      log: silentLog,
      env: logind.env,
      sleeps: () => {
        heard.push("sleeps");
        return ready.promise;
      },
      wakes: () => void heard.push("wakes"),
    });
    await held("held");
  });
  afterEach(async () => {
    watch?.close();
    await until("the sleep is not held back any more", () => logind.holds().at(-1) === "released" || undefined);
    logind.remove();
  });

  const held = (...turns: string[]): Promise<true> =>
    until(turns.join(), () => JSON.stringify(logind.holds()) === JSON.stringify(turns) || undefined);
  const hear = (...words: string[]): Promise<true> =>
    until(words.join(), () => {
      return JSON.stringify(heard) === JSON.stringify(words) || undefined;
    });
  /** The program that tells may not have begun to read. */
  const announce = (sleeps: boolean): Promise<true> => {
    const word = sleeps ? "sleeps" : "wakes";
    return until(word, () => {
      if (heard.at(-1) === word) return true;
      logind.signal(sleeps);
      return undefined;
    });
  };

  test("holds the sleep back until everything is done, and again after the waking", async () => {
    await announce(true);
    expect(logind.holds()).toEqual(["held"]);
    ready.resolve();
    await held("held", "released");
    logind.signal(false);
    await hear(...heard, "wakes");
    await held("held", "released", "held");
  });

  test("is awake when nobody would tell of the waking any more", async () => {
    await announce(true);
    logind.hush();
    await until("wakes", () => heard.at(-1) === "wakes" || undefined);
    await held("held", "released");
    expect(heard).toContain("sleeps");
  });
});

test("without a bus that could tell, nothing is started", () => {
  const parts = { clock: systemClock, log: silentLog, env: {}, sleeps: async () => undefined, wakes: () => undefined };
  expect(openSleepWatch(parts, "aix")).toBeUndefined();
});

test.each([
  ["linux", "/org/freedesktop/login1: org.freedesktop.login1.Manager.PrepareForSleep (true,)", "sleep"],
  ["linux", "/org/freedesktop/login1: org.freedesktop.login1.Manager.PrepareForSleep (false,)", "wake"],
  ["linux", "/org/freedesktop/login1: org.freedesktop.login1.Manager.PrepareForShutdown (true,)", undefined],
  ["linux", "The name org.freedesktop.login1 is owned by :1.3", undefined],
  ["darwin", "sleep", "sleep"],
  ["win32", "wake", "wake"],
  ["win32", "awake", undefined],
] as const)("%s says %s", (platform, line, word) => {
  expect(sleepProgram(platform, 1)?.read(line)).toBe(word);
});
