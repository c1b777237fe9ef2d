import { describe, expect, test } from "vitest";
import { boxOf, sandboxedPrograms } from "./allow-rule.ts";
import { boxFor, decide, Policy } from "./policy.ts";

const policy = (commands: unknown[], sandbox = "none"): Policy => Policy.parse({ version: 1, allow: { commands }, sandbox });

describe("how a command runs", () => {
  test("a bare line has the whole file's word; a rule with settings its own", () => {
    const file = policy(
      [
        "uname",
        { run: "git pull", sandbox: "required", network: true, folders: ["/srv/a"], reads: ["/srv/b"] },
        { run: ["say", "two words"] },
      ],
      "preferred",
    );
    expect(file.allow.commands.map((rule) => boxOf(rule, file.sandbox))).toEqual([
      { mode: "preferred", network: false, folders: [], reads: [] },
      { mode: "required", network: true, folders: ["/srv/a"], reads: ["/srv/b"] },
      { mode: "preferred", network: false, folders: [], reads: [] },
    ]);
  });

  test("the first rule that allows it counts, and it allows and denies as a bare line does", () => {
    const file = policy([
      { run: "git pull", sandbox: "none" },
      { run: "git **", sandbox: "required" },
    ]);
    const mode = (...argv: string[]) => boxFor(file, { argv }, { files: ["/usr/bin/git"] }).mode;
    expect(mode("git", "pull")).toBe("none");
    expect(mode("git", "push")).toBe("required");
    expect(decide(file, { kind: "command", input: { argv: ["git", "push"] } })).toEqual({ allow: true, rules: ["allow.commands: git **"] });
    expect(decide(file, { kind: "command", input: { argv: ["make"] } }).allow).toBe(false);
  });

  test("what no rule speaks of any more is shut in", () => {
    expect(boxFor(policy(["uname"]), { argv: ["make"] }, { files: [] })).toMatchObject({ mode: "required", network: false });
  });

  test.each([
    [{ run: "x", sandbox: "maybe" }, "sandbox: "],
    [{ run: "x", network: "yes" }, "network: "],
    [{ run: "x", folders: ["here"] }, "allow.commands.0.folders.0: a folder's path is absolute"],
    [{ run: "./x" }, "a rule begins with a program's name or absolute path"],
    [{ sandbox: "none" }, "run: "],
    [{ run: "x", netwrok: true }, "netwrok"],
    [7, "a rule is a line, or a list of words"],
  ])("%j is a fault that is named", (rule, message) => {
    const parsed = Policy.safeParse({ version: 1, allow: { commands: [rule] } });
    expect(parsed.error?.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join()).toContain(message);
  });
});

describe("programs that run in a sandbox or not at all, for placement", () => {
  test.each([
    [[], "required", []],
    [["git pull", "make"], "required", ["**"]],
    [["git pull", "make"], "preferred", []],
    [["git pull", { run: "make", sandbox: "required" }], "none", ["make"]],
    [["make clean", { run: "make", sandbox: "required" }], "none", []],
    [["/opt/make clean", { run: "make", sandbox: "required" }], "none", []],
    [["**", { run: "make", sandbox: "required" }], "none", []],
    [[{ run: "**", sandbox: "none" }], "required", []],
    [["x", { run: "**", sandbox: "required" }], "none", []],
  ])("%j with sandbox: %s", (rules, mode, expected) => {
    const file = policy(rules, mode);
    expect(sandboxedPrograms(file.allow.commands, file.sandbox)).toEqual(expected);
  });
});
