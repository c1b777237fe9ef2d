import { describe, expect, it } from "vitest";
import { runCli } from "../../../tests/support/terminal.ts";
import { COMMANDS } from "./cli.ts";

const NOWHERE = { OPENCLAW_CLUSTER_HOME: "/nonexistent/cluster", OPENCLAW_CLUSTER_URL: "http://127.0.0.1:1", OPENCLAW_CLUSTER_TOKEN: "t" };
const cli = (...argv: string[]): ReturnType<typeof runCli> => runCli(argv, { env: NOWHERE });

/** Words of the commands below this one, as its help lists them. */
async function commandsBelow(path: readonly string[]): Promise<string[]> {
  const { stdout } = await cli(...path, "--help");
  const list = /\nCommands:\n((?: .*\n)+)/.exec(stdout)?.[1] ?? "";
  return Array.from(list.matchAll(/^ {2}([a-z]+)/gm), ([, name]) => name as string).filter((name) => name !== "help");
}

describe("help", () => {
  it("lists every command with what it does", async () => {
    const { code, stdout, stderr } = await cli("--help");
    expect(code).toBe(0);
    expect(stderr).toBe("");
    for (const { name, summary } of COMMANDS) expect(stdout).toMatch(new RegExp(`\\n  ${name} +${summary}\\n`));
  });

  it.each(COMMANDS.map(({ name }) => name))("of %s, and of every command below it, has an example", async (name) => {
    const paths = [[name], ...(await commandsBelow([name])).map((word) => [name, word])];
    for (const path of paths) {
      const { code, stdout } = await cli(...path, "--help");
      expect(code).toBe(0);
      expect(stdout, path.join(" ")).toMatch(new RegExp(`\\nExamples:\\n  openclaw-cluster ${path.join(" ")}`));
      expect(stdout, path.join(" ")).toContain("--json");
      expect(await cli("help", ...path)).toMatchObject({ code: 0, stdout });
    }
  });

  it("finds the commands below", async () => {
    expect(await commandsBelow(["nodes"])).toEqual(["list", "show", "label", "drain", "approve", "revoke", "resume", "shutdown", "remove"]);
    expect(await commandsBelow(["plan"])).toEqual(["run", "exec", "submit"]);
  });
});

describe("what is not understood", () => {
  it.each([
    ["an unknown command", ["frobnicate"], "unknown command 'frobnicate'"],
    ["an unknown option", ["ps", "--lable", "a=b"], "unknown option '--lable'"],
    ["a missing argument", ["why"], "missing required argument 'task'"],
    ["an argument too many", ["queue", "now"], "too many arguments"],
    ["an option of a command without --", ["exec", "uname", "-a"], "unknown option '-a'"],
    ["a bad task", ["show", "x1"], "not a task: x1"],
    ["a bad node", ["run", "hi", "--on", "My Mac"], "--on My Mac"],
    ["a bad priority", ["run", "hi", "--priority", "urgent"], "--priority urgent"],
    ["a bad label", ["exec", "--label", "gpu", "--", "ls"], "not a label: gpu"],
    ["a bad state", ["ps", "--state", "done"], "--state done"],
    ["a bad limit", ["ps", "--limit", "0"], "--limit is a whole number"],
    ["a bad decision", ["answer", "t1", "maybe"], "not a decision: maybe"],
    ["an unknown setting", ["config", "set", "api.prot", "1"], "there is no setting api.prot"],
    ["an agent that cannot be", ["run", "hi", "--agent", "a b"], "input.agent"],
  ])("%s ends with 2, says what, and what to do", async (_what, argv, told) => {
    const { code, stdout, stderr } = await cli(...argv);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toContain(told);
    expect(stderr).toMatch(/\n hint: .+\n$/);

    const json = await cli("--json", ...argv);
    expect(json.code).toBe(2);
    expect(json.stderr).toBe("");
    expect(JSON.parse(json.stdout)).toEqual({
      ok: false,
      error: { code: "usage", detail: expect.stringContaining(told), hint: expect.stringMatching(/.+/) },
    });
  });

  it("shows help when there is no command at all", async () => {
    expect(await cli()).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("Usage:") });
  });
});

describe("when nothing answers", () => {
  it("says so at once, with the next step", async () => {
    const { code, stdout, stderr } = await cli("status");
    expect(code).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toBe(
      "error: nothing answers at http://127.0.0.1:1 (ECONNREFUSED) (coordinator_unreachable)\n hint: Is it running? Try `openclaw-cluster doctor`.\n",
    );
  });

  it("says so as JSON", async () => {
    const { code, stdout, stderr } = await cli("status", "--json");
    expect({ code, stderr }).toEqual({ code: 1, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code: "coordinator_unreachable" } });
  });

  it("takes --json after -- for the command's own", async () => {
    expect((await cli("exec", "--", "ls", "--json")).stderr).toContain("error:");
  });
});

it("prints its version", async () =>
  expect(await cli("--version")).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) }));
