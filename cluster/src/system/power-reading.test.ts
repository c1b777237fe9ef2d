import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { powerReader } from "./power-reading.ts";
import type { ShortRun } from "./short-program.ts";

type Files = Readonly<Record<string, string>>;

const DISCHARGING: Files = { type: "Battery", present: "1", status: "Discharging" };
const CHARGING: Files = { ...DISCHARGING, status: "Charging" };
const MOUSE: Files = { type: "Battery", scope: "Device", present: "1", status: "Discharging", online: "1" };
const plug = (online: string, type = "Mains"): Files => ({ type, online });

describe("on Linux", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "power-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const read = async (supplies: Readonly<Record<string, Files>>): Promise<string> => {
    for (const [name, files] of Object.entries(supplies)) {
      await mkdir(path.join(folder, name));
      for (const [file, text] of Object.entries(files)) await writeFile(path.join(folder, name, file), `${text}\n`);
    }
    return powerReader({ platform: "linux", env: {}, folder })();
  };

  test.each<[string, string, Readonly<Record<string, Files>>]>([
    ["a server", "mains", {}],
    ["a desktop with a mouse (P2)", "mains", { hidpp_battery_0: MOUSE }],
    ["a laptop that is plugged in", "mains", { AC: plug("1"), BAT0: CHARGING }],
    ["one that was unplugged", "battery", { AC: plug("0"), BAT0: DISCHARGING }],
    ["one whose battery says that it is the system's", "battery", { AC: plug("0"), BAT0: { ...DISCHARGING, scope: "System" } }],
    ["one with a mouse that is online", "battery", { AC: plug("0"), BAT0: DISCHARGING, mouse: MOUSE }],
    ["a battery that is full, unplugged a moment ago", "mains", { AC: plug("0"), BAT0: { ...DISCHARGING, status: "Full" } }],
    [
      "two batteries, of which one rests",
      "battery",
      { AC: plug("0"), BAT0: { ...DISCHARGING, status: "Not charging" }, BAT1: DISCHARGING },
    ],
    ["a charger that is too weak", "mains", { AC: plug("1"), BAT0: DISCHARGING }],
    ["a USB charger that is too weak", "mains", { usb: plug("1", "USB"), BAT0: DISCHARGING }],
    ["one that can vary its voltage", "mains", { usb: plug("2", "USB"), BAT0: DISCHARGING }],
    ["USB ports, none of which feeds", "battery", { usb: plug("0", "USB"), usb2: plug("0", "USB"), BAT0: DISCHARGING }],
    ["a port that feeds a phone, and is called online", "battery", { AC: plug("0"), usb: plug("1", "USB"), BAT0: DISCHARGING }],
    ["an empty bay", "mains", { AC: plug("0"), BAT0: { ...DISCHARGING, present: "0" } }],
    ["a battery and nothing else to tell", "battery", { battery: { type: "Battery", status: "Discharging" } }],
    ["what cannot be understood", "mains", { odd: {}, BAT0: { type: "Battery" } }],
  ])("%s: %s", async (_what, power, supplies) => expect(await read(supplies)).toBe(power));

  test("a kernel that knows of no supplies: mains", async () => {
    expect(await powerReader({ platform: "linux", env: {}, folder: path.join(folder, "none") })()).toBe("mains");
  });

  test("a folder that is none cannot be told", async () => {
    await writeFile(path.join(folder, "file"), "");
    await expect(powerReader({ platform: "linux", env: {}, folder: path.join(folder, "file") })()).rejects.toThrow("ENOTDIR");
  });
});

const ended = (stdout: string, code = 0): ShortRun => ({ kind: "ended", code, stdout, stderr: "" });
const BATTERY_LINE = " -InternalBattery-0 (id=4653155)\t87%; discharging; 5:12 remaining present: true\n";

describe("on macOS", () => {
  const read = (run: ShortRun): Promise<string> => powerReader({ platform: "darwin", env: {}, run: async () => run })();

  test.each([
    ["Battery Power", BATTERY_LINE, "battery"],
    ["AC Power", " -InternalBattery-0 (id=4653155)\t100%; charged; 0:00 remaining present: true\n", "mains"],
    ["AC Power", "", "mains"],
    ["UPS Power", " -UPS (id=1)\t90%; discharging present: true\n", "mains"],
  ])("%s%s: %s", async (source, more, power) => expect(await read(ended(`Now drawing from '${source}'\n${more}`))).toBe(power));

  test.each<[string, ShortRun]>([
    ["other words", ended("nothing known\n")],
    ["an error", ended("Now drawing from 'Battery Power'\n", 1)],
    ["no program", { kind: "absent" }],
    ["no answer in time", { kind: "failed", reason: "pmset gave no answer in 3 s" }],
  ])("%s cannot be told", async (_what, run) => await expect(read(run)).rejects.toThrow(/pmset/));
});

describe("on Windows", () => {
  const reader = (...runs: string[]) => {
    const asked: (readonly string[])[] = [];
    const read = powerReader({
      platform: "win32",
      env: {},
      run: async (argv) => (asked.push(argv), ended(runs[asked.length - 1] ?? "")),
    });
    return { read, asked };
  };

  test.each([
    ["Offline;High", "battery"],
    ["Offline;Low, Critical", "battery"],
    ["Online;High, Charging", "mains"],
    ["Online;0", "mains"],
    ["Unknown;Unknown", "mains"],
    ["Offline;NoSystemBattery", "mains"],
  ])("%s: %s", async (text, power) => expect(await reader(`${text}\r\n`).read()).toBe(power));

  test("a machine that has no battery is asked once, any other each time", async () => {
    const desktop = reader("Online;NoSystemBattery\r\n");
    expect([await desktop.read(), await desktop.read(), desktop.asked.length]).toEqual(["mains", "mains", 1]);
    const laptop = reader("Online;High\r\n", "Offline;High\r\n");
    expect([await laptop.read(), await laptop.read(), laptop.asked.length]).toEqual(["mains", "battery", 2]);
  });

  test("other words cannot be told", async () => {
    await expect(reader("Add-Type : not found").read()).rejects.toThrow("PowerShell");
  });
});

test("any other system counts as on mains", async () => {
  expect(await powerReader({ platform: "freebsd", env: {} })()).toBe("mains");
});
