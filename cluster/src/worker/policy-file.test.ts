import { chmodSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { parse } from "yaml";
import { afterEach, beforeEach, expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { DEFAULT_POLICY, DENY_ALL, Policy } from "../core/policy.ts";
import { systemClock } from "../system/clock.ts";
import { silentLog } from "../system/log.ts";
import { DEFAULT_POLICY_YAML, openPolicyFile, type PolicyFile } from "./policy-file.ts";

let folder: string;
let file: string;
let opened: PolicyFile | undefined;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "ocx-policy-"));
  file = path.join(folder, "policy.yaml");
});
afterEach(() => {
  opened?.close();
  rmSync(folder, { recursive: true });
});

function open(clock = new HandClock()): { policy: PolicyFile; clock: HandClock } {
  opened = openPolicyFile({ file, clock, log: silentLog });
  return { policy: opened, clock };
}

test("the text written for a user says the same as the shipped default, and so do its examples", () => {
  expect(Policy.parse(parse(DEFAULT_POLICY_YAML))).toEqual(DEFAULT_POLICY);
  const uncommented = DEFAULT_POLICY_YAML.replaceAll(/^( *)# ((?: *)(?:- .*|\w+:.*))$/gm, "$1$2");
  expect(Policy.parse(parse(uncommented))).toMatchObject({
    allow: { commands: [["uname", "-a"], expect.anything(), expect.anything(), { sandbox: "required", network: true }] },
    deny: { agents: ["private"] },
    limits: { memoryMiB: 4_096 },
  });
});

test("no file: the default", () => {
  expect(open().policy.current()).toEqual(DEFAULT_POLICY);
});

test.each([
  ["no yaml", "allow: [unclosed"],
  ["nothing", ""],
  ["another version", "version: 2"],
  ["a misspelt word", "version: 1\nallow:\n  comands: ['**']"],
  ["too long", `version: 1\n${"#".repeat(1_100_000)}`],
])("a broken file denies everything: %s (P1)", (_name, text) => {
  writeFileSync(file, text);
  expect(open().policy.current()).toEqual(DENY_ALL);
});

test.skipIf(process.platform === "win32" || process.getuid?.() === undefined)("a file that anyone may write denies everything", () => {
  writeFileSync(file, "version: 1");
  chmodSync(file, 0o666);
  expect(open().policy.current()).toEqual(DENY_ALL);
});

test("a change is seen, also one that breaks the file, replaces it or removes it (P2)", () => {
  const { policy, clock } = open();
  let changes = 0;
  policy.onChange(() => changes++);
  const look = (): Policy => {
    clock.advance(5_000);
    return policy.current();
  };
  writeFileSync(file, "version: 1\nallow: { commands: [uname -a] }");
  expect(look().allow.commands).toEqual([["uname", "-a"]]);
  writeFileSync(file, "version: 1\nallow: {");
  expect(look()).toEqual(DENY_ALL);
  writeFileSync(`${file}.new`, "version: 1\nallow: { tools: [x] }");
  renameSync(`${file}.new`, file);
  expect(look().allow.tools).toEqual(["x"]);
  rmSync(file);
  expect(look()).toEqual(DEFAULT_POLICY);
  look();
  expect(changes).toBe(4);
});

test("the system's notice is enough", async () => {
  opened = openPolicyFile({ file, clock: systemClock, log: silentLog });
  const changed = new Promise<void>((resolve) => opened?.onChange(resolve));
  writeFileSync(file, "version: 1\nallow: { tools: [x] }");
  await changed;
  expect(opened.current().allow.tools).toEqual(["x"]);
});
