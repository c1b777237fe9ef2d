import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { writePrivateFile } from "../system/folders.ts";
import { checkPower } from "./check-power.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "check-power-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("doctor tells what the machine runs on, and what that means for its models", async () => {
  const policy = path.join(folder, "policy.yaml");
  const check = (power: "mains" | "battery") => checkPower({ policy }, async () => power);
  expect(await check("mains")).toMatchObject({ level: "ok", found: expect.stringContaining("mains") as string });
  expect(await check("battery")).toMatchObject({ level: "ok", found: expect.stringContaining("no models are lent") as string });
  await writePrivateFile(policy, "version: 1\nbattery: { models: true }\n");
  expect(await check("battery")).toMatchObject({ level: "ok", found: expect.stringContaining("lent all the same") as string });
  expect(await checkPower({ policy }, () => Promise.reject(new Error("there is no pmset")))).toMatchObject({
    level: "warn",
    found: expect.stringContaining("there is no pmset") as string,
  });
});
