/**
 * The texts for the three service managers, read back as each of them reads: whatever stands in a path arrives there. systemd's
 * own parser judges too, where it is installed.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { launchAgent, launchAgentHomeMark } from "./launch-agent.ts";
import { logonTask, logonTaskHomeMark } from "./logon-task.ts";
import { argvOf, leftOut, planService, serviceEnvironment, type ServicePlan } from "./plan.ts";
import { systemdHomeMark, systemdUnit } from "./systemd-unit.ts";

/** What is special to one of the languages, what is not, and any other character. */
const sign = fc.oneof(
  fc.constantFrom(...` "'\\%$&<>;#!@=~()[]{}*|^\`-`.split("")),
  fc.constantFrom("a", "h", "%h", "$HOME", "${A}", "$$", "%%", "\\\\", '\\"', "&amp;", "]]>", "--", "ü", "张", "🦞"),
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 3 }),
);
const holdable = (text: string): boolean => !/[\u0000-\u001f\u007f\uFFFE\uFFFF]/.test(text) && text.isWellFormed();
const words = fc
  .array(sign, { maxLength: 12 })
  .map((signs) => signs.join(""))
  .filter(holdable);
const place = words.map((text) => `/${text}`);
const startable = place.map((text) => text.replaceAll(/["'\\]/g, "q"));
const environment = fc.dictionary(
  fc.constantFrom("PATH", "OPENCLAW_STATE_DIR", "OPENCLAW_CLUSTER_LABELS"),
  words.filter((text) => text !== ""),
);
const plans: fc.Arbitrary<ServicePlan> = fc.record({
  name: fc.constant("openclaw-cluster"),
  node: startable,
  program: place,
  home: place,
  environment,
});

const argvIn = (plan: ServicePlan): string[] => [plan.node, ...argvOf(plan)];

describe("a systemd unit", () => {
  it("gives back what was put in", () => {
    fc.assert(
      fc.property(plans, (plan) => {
        const text = systemdUnit(plan);
        const [command = ""] = valuesOf(text, "ExecStart");
        const [node = "", ...rest] = systemdWords(command);
        expect([node, ...rest.map((word) => word.replaceAll("$$", "$"))]).toEqual(argvIn(plan));
        expect(Object.fromEntries(valuesOf(text, "Environment").map((value) => pair(systemdWords(value)[0] ?? "")))).toEqual(
          plan.environment,
        );
        expect(text).toContain(systemdHomeMark(plan.home));
        if (plan.home !== "/other") expect(text).not.toContain(systemdHomeMark("/other"));
      }),
    );
  });

  it("stops in the time that the daemon needs, and does not start again what cannot start", () => {
    const text = systemdUnit({ name: "x", node: "/n", program: "/p", home: "/h", environment: {} });
    for (const line of [
      "Restart=on-failure",
      "RestartPreventExitStatus=2",
      "KillMode=mixed",
      "Delegate=memory pids",
      "TimeoutStopSec=40",
      "WantedBy=default.target",
    ])
      expect(text.split("\n")).toContain(line);
    expect(text).not.toContain("User=");
    const machine = systemdUnit({ name: "x", node: "/n", program: "/p", home: "/h", environment: {}, user: "ann%" });
    for (const line of ["User=ann%%", "WantedBy=multi-user.target", "Wants=network-online.target"])
      expect(machine.split("\n")).toContain(line);
  });

  it("is refused where systemd would not start the program", () => {
    for (const node of ['/a"b', "/a'b", "/a\\b"])
      expect(() => systemdUnit({ name: "x", node, program: "/p", home: "/h", environment: {} })).toThrow("quote or a backslash");
  });
});

const noSystemd = spawnSync("systemd-analyze", ["--version"]).status !== 0;

describe.skipIf(noSystemd)("systemd's own parser", () => {
  const folder = noSystemd ? "" : mkdtempSync(path.join(tmpdir(), "ocx-units-"));
  afterAll(() => noSystemd || rmSync(folder, { recursive: true, force: true }));

  const verify = (files: readonly string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync("systemd-analyze", ["--user", "verify", ...files], {
      encoding: "utf8",
      // With it, what was understood is printed.
      env: { ...process.env, SYSTEMD_LOG_LEVEL: "debug", XDG_RUNTIME_DIR: folder },
    });

  it("finds no fault with a unit, and understands the paths in it as they were meant", () => {
    const samples = fc.sample(plans, 25);
    const units = samples.map((sample, n) => {
      const bin = path.join(folder, `bin${n} %n $HOME ü`);
      mkdirSync(bin);
      const node = path.join(bin, "node");
      writeFileSync(node, "#!/bin/sh\n");
      chmodSync(node, 0o755);
      const plan = { ...sample, node };
      const file = path.join(folder, `sample${n}.service`);
      writeFileSync(file, systemdUnit(plan));
      return { plan, file };
    });
    const { status, stdout, stderr } = verify(units.map(({ file }) => file));
    expect(stderr.split("\n").filter((line) => /sample\d+\.service:\d+|sample\d+\.service: .*(fail|refus|not exec)/i.test(line))).toEqual(
      [],
    );
    expect(status).toBe(0);
    const dumps = new Map(stdout.split(/^\s*-> Unit /m).map((dump) => [dump.split(/[:\n]/, 1)[0], dump]));
    for (const [n, { plan }] of units.entries()) {
      const dump = dumps.get(`sample${n}.service`) ?? "";
      const [, command = ""] = /Command Line: ([^\n]*)/.exec(dump) ?? [];
      const [node = "", ...rest] = shellWords(command);
      expect([node, ...rest.map((word) => word.replaceAll("$$", "$"))]).toEqual(argvIn(plan));
      const variables = Array.from(dump.matchAll(/^\s*Environment: ([^\n]*)/gm), ([, line = ""]) => pair(line));
      expect(Object.fromEntries(variables)).toEqual(plan.environment);
    }
  });

  it("would have found one", () => {
    const file = path.join(folder, "bad.service");
    writeFileSync(
      file,
      systemdUnit({ name: "x", node: "/nonexistent/node", program: "/p", home: "/h", environment: {} }).replace("Restart=on", "Restart=un"),
    );
    const { status, stderr } = verify([file]);
    expect(status).not.toBe(0);
    expect(stderr).toContain("bad.service");
  });
});

describe("a launchd agent", () => {
  it("gives back what was put in", () => {
    fc.assert(
      fc.property(plans, (plan) => {
        const text = launchAgent(plan);
        const list = /<array>([^]*?)<\/array>/.exec(text)?.[1] ?? "";
        expect(Array.from(list.matchAll(/<string>([^<]*)<\/string>/g), ([, word = ""]) => fromXml(word))).toEqual(argvIn(plan));
        const variables = /<key>EnvironmentVariables<\/key>\s*<dict>([^]*?)<\/dict>/.exec(text)?.[1] ?? "";
        const pairs = Array.from(variables.matchAll(/<key>([^<]*)<\/key><string>([^<]*)<\/string>/g), ([, key = "", value = ""]) => [
          key,
          fromXml(value),
        ]);
        expect(Object.fromEntries(pairs)).toEqual(plan.environment);
        expect(text).toContain(launchAgentHomeMark(plan.home));
        expectXml(text);
      }),
    );
  });
});

describe("a task of the Task Scheduler", () => {
  const readable = plans.filter((plan) => argvIn(plan).every((word) => !/%[^%]+%|\$\(/.test(word)));

  it("gives back what was put in, through XML and the command line's own rules", () => {
    fc.assert(
      fc.property(readable, words, (plan, account) => {
        const text = logonTask(plan, account);
        const [, line = ""] = /<Arguments>([^<]*)<\/Arguments>/.exec(text) ?? [];
        expect(windowsWords(fromXml(line))).toEqual(["--headless", ...argvIn(plan)]);
        expect(Array.from(text.matchAll(/<UserId>([^<]*)<\/UserId>/g), ([, user = ""]) => fromXml(user))).toEqual([account, account]);
        expect(text).toContain(logonTaskHomeMark(plan.home));
        expectXml(text);
      }),
    );
  });

  it("starts at logon, hidden, again after a failure, and without an end", () => {
    const text = logonTask({ name: "x", node: "C:\\n.exe", program: "C:\\p", home: "C:\\Users\\Ann Ü\\", environment: {} }, "PC\\ann");
    for (const part of [
      "<LogonTrigger>",
      "<Hidden>true</Hidden>",
      "<RestartOnFailure>",
      "<ExecutionTimeLimit>PT0S</ExecutionTimeLimit>",
      "<StopIfGoingOnBatteries>false",
    ])
      expect(text).toContain(part);
  });

  it("is refused where the scheduler would put a variable in its place", () => {
    for (const home of ["C:\\%TEMP%\\x", "C:\\$(Arg0)"])
      expect(() => logonTask({ name: "x", node: "n", program: "p", home, environment: {} }, "ann")).toThrow("variable");
  });
});

describe("what a unit takes of the environment", () => {
  const env = {
    PATH: ["/a", "/x/node_modules/.bin", "rel", "", "/b c", "/a", "/n/node-gyp-bin"].join(path.delimiter),
    HOME: "/h",
    OPENCLAW_STATE_DIR: "/state",
    OPENCLAW_CLUSTER_API_PORT: "9000",
    OPENCLAW_CLUSTER_TOKEN: "occ_secret",
    OPENCLAW_CLUSTER_URL: "http://u:secret@h",
    OPENCLAW_GATEWAY_TOKEN: "secret",
    ANTHROPIC_API_KEY: "secret",
    OPENCLAW_CLUSTER_NAME: "",
  };
  it.skipIf(process.platform === "win32")("is PATH without what npm and chance put there, and settings; no token (P1)", () => {
    expect(serviceEnvironment(env)).toEqual({ PATH: "/a:/b c", OPENCLAW_STATE_DIR: "/state", OPENCLAW_CLUSTER_API_PORT: "9000" });
    expect(leftOut(env)).toEqual([{ name: "OPENCLAW_GATEWAY_TOKEN", instead: expect.stringContaining("openclaw.tokenFile") as string }]);
    const plan = planService({ name: "openclaw-cluster", node: "/n", program: "/p", home: "/h", env });
    for (const text of [systemdUnit(plan), launchAgent(plan), logonTask(plan, "ann")]) expect(text).not.toContain("secret");
  });

  it("holds no line end and no other control character (P2), and the name is one", () => {
    const parts = { name: "x", node: "/n", program: "/p", home: "/h", env: {} };
    for (const home of ["/a\nExecStartPre=/bin/evil", "/a\u0000", "/\ud800"])
      expect(() => planService({ ...parts, home })).toThrow("holds a character");
    expect(() => planService({ ...parts, env: { OPENCLAW_CLUSTER_NAME: "a\nb" } })).toThrow("holds a character");
    for (const name of ["", "A", "a/b", "../x", "-x", "a.b"]) expect(() => planService({ ...parts, name })).toThrow("--name");
  });
});

const valuesOf = (unit: string, key: string): string[] =>
  unit.split("\n").flatMap((line) => (line.startsWith(`${key}=`) ? [line.slice(key.length + 1)] : []));

function pair(text: string): [string, string] {
  const at = text.indexOf("=");
  return [text.slice(0, at), text.slice(at + 1)];
}

/** Quoted words with backslash escapes, then specifiers, of which `%%` is the only one that may be left. */
function systemdWords(line: string): string[] {
  return Array.from(line.matchAll(/"((?:[^"\\]|\\.)*)"(?: |$)/gu), ([, word = ""]) => {
    const plain = word.replaceAll(/\\(.)/gu, "$1");
    expect(plain.replaceAll("%%", "")).not.toContain("%");
    return plain.replaceAll("%%", "%");
  });
}

/** As systemd prints a command: bare, or in double quotes with backslashes before what a shell would read. */
function shellWords(line: string): string[] {
  return Array.from(
    line.matchAll(/"((?:[^"\\]|\\[^])*)"|([^" ]+)/gu),
    ([, quoted, bare]) => quoted?.replaceAll(/\\([^])/gu, "$1") ?? (bare as string),
  );
}

/** CommandLineToArgvW, from its documentation. */
function windowsWords(line: string): string[] {
  const found: string[] = [];
  let [word, quoted, open] = ["", false, false];
  for (let at = 0; at < line.length; at += 1) {
    const [slashes = ""] = /^\\*/.exec(line.slice(at)) ?? [];
    if (slashes !== "") {
      const beforeQuote = line[at + slashes.length] === '"';
      word += "\\".repeat(beforeQuote ? Math.floor(slashes.length / 2) : slashes.length);
      open = true;
      at += slashes.length - 1;
      if (beforeQuote && slashes.length % 2 === 1) [word, at] = [`${word}"`, at + 1];
    } else if (line[at] === '"') [quoted, open] = [!quoted, true];
    else if (line[at] === " " && !quoted) {
      if (open) found.push(word);
      [word, open] = ["", false];
    } else [word, open] = [word + (line[at] as string), true];
  }
  return open ? [...found, word] : found;
}

const SIGNS: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
const fromXml = (text: string): string => text.replaceAll(/&(\w+);/g, (_whole, name: string) => SIGNS[name] ?? "?");

/** Every tag is closed in order, and no sign stands alone. */
function expectXml(text: string): void {
  const open: string[] = [];
  const body = text.replaceAll(/<\?.*?\?>|<!--.*?-->|<!DOCTYPE.*?>/g, "");
  const rest = body.replaceAll(/<(\/?)([A-Za-z]+)[^<>]*?(\/?)>/g, (_tag, end: string, name: string, alone: string) => {
    if (end) expect(open.pop()).toBe(name);
    else if (!alone) open.push(name);
    return "";
  });
  expect(open).toEqual([]);
  expect(rest.replaceAll(/&(amp|lt|gt|quot|apos);/g, "")).not.toMatch(/[<>&]/);
}
