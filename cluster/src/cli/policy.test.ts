import { chmod, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { runCli } from "../../../tests/support/terminal.ts";
import { DEFAULT_POLICY, Policy } from "../core/policy.ts";

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "cli-policy-"));
});
afterEach(() => rm(home, { recursive: true }));

const write = (text: string): Promise<void> => writeFile(join(home, "policy.yaml"), text, { mode: 0o600 });
const cli = (...argv: string[]): ReturnType<typeof runCli> =>
  runCli(["policy", ...argv], { env: { OPENCLAW_CLUSTER_HOME: home, PATH: process.env["PATH"] ?? "" } });

const FULL = `version: 1
allow:
  agents: [main, "h*"]
  tools: [web_*]
  commands:
    - uname -a
    - [say, "two words"]
    - { run: make, sandbox: required, network: true, folders: [/srv/a], reads: [/srv/b] }
  cwds: [/tmp]
deny:
  kinds: [echo]
  agents: [private]
  commands: [uname -r]
users: { allow: [ann, "token:k3f7q2ab"], deny: [bob] }
hours: { quiet: ["22:00-07:00"], days: [mon], timeZone: Europe/Berlin, pinned: true }
limits: { memoryMiB: 2048, processes: 64 }
sandbox: preferred
`;

const BROKEN = `version: 1
allow:
  comands: ["**"]
  commands:
    - ./x
    - 7
hours:
  quiet: ["22-7"]
  timeZone: Mars/Olympus
`;

describe("policy check", () => {
  it("says what a policy means, in plain words", async () => {
    await write(FULL);
    const { code, stdout, stderr } = await cli("check");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.replaceAll(/ {2,}/g, ": ").replace(/; now,[^;]*/, "")).toBe(
      `${join(home, "policy.yaml")} is well. It says:

echo: denied
agents: main, h*, never private
tools: web_*
commands: uname -a
: say "two words"
: make (sandbox required; network; writes /srv/a; reads /srv/b)
: never uname -r
folders: a fresh one for each task, or one in /tmp
variables: none
sandbox: preferred
limits: 2048 MiB of memory, 64 processes, 16384 MiB in one file, 4096 open files, nice 5
models: none
users: ann, token:k3f7q2ab, never bob
quiet: 22:00-07:00 on mon (Europe/Berlin); tasks for this node alone are taken all the same
`,
    );
    expect(JSON.parse((await cli("check", "--json")).stdout)).toEqual({
      ok: true,
      file: join(home, "policy.yaml"),
      source: "file",
      policy: Policy.parse(parse(FULL)),
    });
  });

  it("says that what is shipped counts where there is no file", async () => {
    const { code, stdout } = await cli("check");
    expect(code).toBe(0);
    expect(stdout).toContain(
      "what is shipped counts:\n\necho      allowed\nagents    any\ntools     none\ncommands  none\nmodels    any\nusers     everybody\n",
    );
    expect(JSON.parse((await cli("check", "--json")).stdout)).toMatchObject({ ok: true, source: "default", policy: DEFAULT_POLICY });
  });

  it("names line and field of every fault, in the order of the file, and ends with 2", async () => {
    await write(BROKEN);
    const { code, stdout } = await cli("check");
    expect(code).toBe(2);
    const file = join(home, "policy.yaml");
    expect(stdout.split("\n")).toEqual([
      `${file}:3: allow.comands: Unrecognized key: "comands"`,
      `${file}:5: allow.commands.0: a rule begins with a program's name or absolute path, or is ** alone`,
      `${file}:6: allow.commands.1: a rule is a line, or a list of words`,
      `${file}:8: hours.quiet.0: a window is written as 22:00-07:00`,
      `${file}:9: hours.timeZone: no such time zone; write it as Europe/Berlin`,
      "Until this is put right, everything is denied on this node.",
      "",
    ]);
    const json = await cli("check", "--json");
    expect(json.code).toBe(2);
    expect(JSON.parse(json.stdout)).toMatchObject({
      ok: false,
      file,
      faults: [{ line: 3, field: "allow.comands" }, { line: 5 }, { line: 6 }, { line: 8 }, { line: 9, field: "hours.timeZone" }],
      error: { code: "policy_invalid", detail: expect.stringContaining("comands") as string },
    });
  });

  it.each([
    ["no YAML", "version: 1\nallow: [\n", /:3: Flow sequence/],
    ["nothing", "", /:1: the whole file: .*expected object/],
    ["a star for any variable", "version: 1\nallow:\n  env: [TZ, '*']\n", /:3: allow\.env\.1: \* would mean .* as in APP_\*/],
    ["a doubled field", "version: 1\nallow: {}\nallow: {echo: false}\n", /:3: Map keys must be unique/],
  ])("tells %s", async (_what, text, told) => {
    await write(text);
    expect(await cli("check")).toMatchObject({ code: 2, stdout: expect.stringMatching(told) as string });
  });

  it.skipIf(process.platform === "win32")("tells a file that everybody may write, as the daemon refuses it", async () => {
    await write("version: 1");
    await chmod(join(home, "policy.yaml"), 0o666);
    expect(await cli("check")).toMatchObject({
      code: 2,
      stdout: expect.stringContaining("everybody on this machine may write it") as string,
    });
  });

  it("takes another file, which must be there, and changes nothing", async () => {
    await writeFile(join(home, "draft.yaml"), BROKEN, { mode: 0o600 });
    expect((await cli("check", join(home, "draft.yaml"))).code).toBe(2);
    expect(await cli("check", join(home, "none.yaml"))).toMatchObject({
      code: 2,
      stdout: "",
      stderr: expect.stringContaining("none.yaml") as string,
    });
    expect(await readdir(home)).toEqual(["draft.yaml"]);
  });
});

describe("policy show", () => {
  it("prints what counts, as a policy that means the same", async () => {
    await write(FULL);
    const { stdout } = await cli("show");
    expect(Policy.parse(parse(stdout))).toEqual(Policy.parse(parse(FULL)));
    expect(stdout).toContain("- uname -a\n");
    expect(JSON.parse((await cli("show", "--json")).stdout)).toEqual(Policy.parse(parse(FULL)));
  });

  it("says in numbers what a command may take here", async () => {
    await write("version: 1\n");
    expect((await cli("show")).stdout).toMatch(/^limits:\n( {2}\w+: \d+\n)*  memoryMiB: \d+$/m);
  });

  it("of a broken file fails", async () => {
    await write(BROKEN);
    expect(await cli("show")).toMatchObject({
      code: 2,
      stdout: "",
      stderr: expect.stringMatching(/:3: allow\.comands.*\(policy_invalid\)\n hint: /) as string,
    });
  });
});

it("policy schema knows every field", async () => {
  const schema = JSON.parse((await cli("schema")).stdout) as { properties: object; additionalProperties: boolean };
  expect(Object.keys(schema.properties)).toEqual(["version", "allow", "deny", "users", "hours", "limits", "sandbox"]);
  expect(schema.additionalProperties).toBe(false);
});

describe("policy test", () => {
  const DAY = ["--at", "2026-06-03T12:00Z"];
  const trying = async (...argv: string[]): Promise<unknown> => {
    const { code, stdout } = await cli("test", "--json", ...argv);
    return { code, ...(JSON.parse(stdout) as object) };
  };

  it("says which rules take a task", async () => {
    await write(FULL);
    expect(await trying(...DAY, "--by", "ann", "command", "--", "uname", "-a")).toEqual({
      code: 0,
      taken: true,
      rules: ["allow.commands: uname -a", "users.allow: ann"],
    });
    expect(await trying(...DAY, "--by", "cleo", "--by", "token:k3f7q2ab", "--agent", "helper", "agent", "say hello")).toEqual({
      code: 0,
      taken: true,
      rules: ["allow.agents: h*", "users.allow: token:k3f7q2ab"],
    });
    expect((await cli("test", ...DAY, "--by", "ann", "tool", "web_fetch")).stdout).toBe(
      "taken\n  allow.tools: web_*\n  users.allow: ann\n",
    );
  });

  it("says whose session a task would work in", async () => {
    await write("version: 1\nallow: { agents: [main], sessions: [main] }\n");
    const session = (name: string, ...more: string[]) => trying("--agent", "main", "--session", name, ...more, "agent", "hi");
    expect(await session("main")).toMatchObject({ taken: true, rules: ["allow.agents: main", "allow.sessions: main"] });
    expect(await session("cluster-a-t1")).toMatchObject({ taken: false, reason: "the session cluster-a-t1 is not allowed" });
    expect(await session("daily", "--by", "ann")).toMatchObject({ taken: true });
    const unsaid = await cli("test", "--agent", "main", "--session", "daily", "agent", "hi");
    expect(unsaid.stdout).toContain("refused: whose session daily is meant is not known");
    expect(unsaid.stderr).toContain("--by <user>");
    expect((await cli("check")).stdout).toMatch(/^sessions +each user's own, and main$/m);
  });

  it("says which rule refuses it, or that none allows it", async () => {
    await write(FULL);
    const ask = (...argv: string[]): Promise<unknown> => trying(...DAY, "--by", "ann", ...argv);
    expect(await ask("echo")).toEqual({ code: 1, taken: false, reason: "kind echo is denied", rules: ["deny.kinds: echo"] });
    expect(await ask("command", "--", "uname", "-r")).toMatchObject({ code: 1, rules: ["deny.commands: uname -r"] });
    expect(await ask("command", "--", "rm", "-rf", "/")).toMatchObject({ code: 1, rules: [] });
    expect(await ask('{"kind":"agent","input":{"message":"x","agent":"private"}}')).toMatchObject({ rules: ["deny.agents: private"] });
    expect(await trying(...DAY, "--by", "bob", "tool", "web_fetch")).toMatchObject({ code: 1, rules: ["users.deny: bob"] });
    // A token's id alone could be bob's.
    expect(await trying(...DAY, "--by", "token:k3f7q2ab", "tool", "web_fetch")).toMatchObject({ code: 1, rules: ["users.deny: bob"] });
    expect((await cli("test", ...DAY, "tool", "web_fetch")).stderr).toContain("--by <user>");
    expect((await cli("test", ...DAY, "--by", "ann", "tool", "mail")).stdout).toBe(
      "refused: tool mail is not allowed\n  no rule allows it\n",
    );
  });

  it("goes by the time that is named, and by the node's own id where the task is for it alone", async () => {
    await write(FULL);
    await writeFile(join(home, "cluster.yaml"), "nodeId: studio\n");
    const night = (spec: object): Promise<unknown> =>
      trying("--by", "ann", "--at", "2026-06-01T21:00Z", JSON.stringify({ kind: "tool", input: { tool: "web_fetch" }, ...spec }));
    expect(await night({})).toMatchObject({
      reason: "no new work until 07:00 (Europe/Berlin)",
      rules: ["hours.quiet: 22:00-07:00 on mon (Europe/Berlin)"],
    });
    expect(await night({ require: { nodes: ["studio"] } })).toMatchObject({ code: 0 });
    expect(await night({ require: { nodes: ["studio", "nas"] } })).toMatchObject({ code: 1 });
  });

  it.skipIf(process.platform === "win32")("judges the file and the folder that a name leads to, as the executor does", async () => {
    await symlink("/bin/sh", join(home, "run"));
    await symlink("/etc", join(home, "inside"));
    await write(`version: 1\nallow: { commands: ["${join(home, "run")} **", pwd], cwds: ["${home}"] }\n`);
    expect(await trying("command", "--", join(home, "run"), "-c", "evil")).toMatchObject({ code: 1 });
    const pwd = (cwd: string): Promise<unknown> => trying(JSON.stringify({ kind: "command", input: { argv: ["pwd"], cwd } }));
    expect(await pwd(home)).toMatchObject({ code: 0 });
    expect(await pwd(join(home, "inside"))).toMatchObject({ code: 1, reason: "folder /etc is not allowed" });
    expect((await cli("test", "command", "--", join(home, "gone"), "x")).stdout).toContain("refused");
    await write(`version: 1\nallow: { commands: ["nosuchprogram **"] }\n`);
    expect((await cli("test", "command", "--", "nosuchprogram")).stderr).toContain("there is no program nosuchprogram");
  });

  it.each([
    ["an unknown kind", ["dance"], "not a task: dance"],
    ["no JSON", ["{kind"], "the task is not JSON"],
    ["a task that cannot be", ['{"kind":"echo"}'], "input"],
    ["a command of no words", ["command"], "input.argv"],
    ["a time that is none", ["echo", "--at", "soon"], "--at soon"],
  ])("%s ends with 2", async (_what, argv, told) => {
    expect(await cli("test", ...argv)).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining(told) as string });
  });
});

it("the documented policy is one, means what the page says, and refuses what it says", async () => {
  const page = await readFile(new URL("../../../docs/cli.md", import.meta.url), "utf8");
  const section = page.split("\n## ").find((one) => one.startsWith("What may run on this machine")) ?? "";
  const [, text = ""] = /```yaml\n([^]*?)```/.exec(section) ?? [];
  await write(text);
  const { code, stdout } = await cli("check");
  expect(code).toBe(0);
  const said =
    stdout
      .split("\n\n")[1]
      ?.replace(/; now, .*/, "")
      .trim() ?? "";
  expect(section).toContain(`is well. It says:\n\n${said}\n`);
  const refused = await cli("test", "--by", "ann", "command", "--", "git", "push");
  expect(section).toContain(`policy test --by ann command -- git push\n${refused.stdout}`);
});
