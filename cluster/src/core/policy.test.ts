import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { matches } from "./command-rule.ts";
import { admit, decide, DEFAULT_POLICY, DENY_ALL, mayGoOn, Policy, type Found } from "./policy.ts";
import { summary } from "./policy-facts.ts";

type CommandInput = Extract<TaskSpec, { kind: "command" }>["input"];

const command = (argv: string[], more: Partial<CommandInput> = {}): TaskSpec => ({ kind: "command", input: { argv, ...more } });
const agent = (name?: string, session?: string): TaskSpec => ({
  kind: "agent",
  input: { message: "hello", ...(name !== undefined && { agent: name }), ...(session !== undefined && { session }) },
});
const policy = (allow: object, deny: object = {}): Policy => Policy.parse({ version: 1, allow, deny });
const NOON = { now: Date.UTC(2026, 5, 1, 12), timeZone: "UTC" };
const allows = (commands: unknown[], argv: string[], more: Partial<CommandInput> = {}, found?: Found): boolean =>
  decide(policy({ commands, cwds: ["/srv/tasks"], env: ["TZ", "APP_*"] }), command(argv, more), found).allow;

describe("the shipped policies", () => {
  test("default: echo and agents, no tool, no command", () => {
    expect(decide(DEFAULT_POLICY, { kind: "echo", input: {} })).toEqual({ allow: true, rules: ["allow.echo"] });
    expect(decide(DEFAULT_POLICY, agent()).allow).toBe(true);
    expect(decide(DEFAULT_POLICY, agent("any")).allow).toBe(true);
    expect(decide(DEFAULT_POLICY, { kind: "tool", input: { tool: "web_fetch" } })).toEqual({
      allow: false,
      reason: "tool web_fetch is not allowed",
    });
    expect(decide(DEFAULT_POLICY, command(["uname"]))).toEqual({
      allow: false,
      reason: "command uname is not allowed with these arguments",
    });
  });

  test("deny all", () => {
    const specs: TaskSpec[] = [{ kind: "echo", input: {} }, agent(), command(["uname"]), { kind: "tool", input: { tool: "x" } }];
    for (const spec of specs) expect(decide(DENY_ALL, spec).allow).toBe(false);
  });

  test("an unknown word in a policy is an error, not a silent default", () => {
    for (const bad of [
      { version: 2 },
      { version: 1, alow: {} },
      { version: 1, allow: { command: [] } },
      { version: 1, allow: { commands: ["./x"] } },
      null,
      "yes",
    ]) {
      expect(Policy.safeParse(bad).success).toBe(false);
    }
  });
});

describe("deny wins over allow (N1)", () => {
  test("for kinds, agents, tools, commands and folders", () => {
    expect(decide(policy({ echo: true }, { kinds: ["echo"] }), { kind: "echo", input: {} }).allow).toBe(false);
    expect(decide(policy({ agents: ["*"] }, { agents: ["private"] }), agent("private")).allow).toBe(false);
    expect(decide(policy({ tools: ["web_*"] }, { tools: ["web_post"] }), { kind: "tool", input: { tool: "web_post" } }).allow).toBe(false);
    expect(decide(policy({ tools: ["web_*"] }, { tools: ["web_post"] }), { kind: "tool", input: { tool: "web_get" } }).allow).toBe(true);
    const openly = policy({ commands: ["**"], cwds: ["/srv"] }, { commands: ["rm", "git push"], cwds: ["/srv/private"] });
    for (const argv of [["rm"], ["rm", "-rf", "/"], ["/bin/rm", "x"], ["git", "push", "--force"]])
      expect(decide(openly, command(argv)).allow).toBe(false);
    expect(decide(openly, command(["git", "pull"])).allow).toBe(true);
    expect(decide(openly, command(["harmless"]), { files: ["/home/me/harmless", "/usr/bin/rm"] }).allow).toBe(false);
    expect(decide(openly, command(["ls"], { cwd: "/srv/private/x" })).allow).toBe(false);
    expect(decide(openly, command(["ls"], { cwd: "/srv/privately" })).allow).toBe(true);
  });

  test("a task that names no agent could mean a denied one", () => {
    expect(decide(policy({ agents: ["*"] }, { agents: ["private"] }), agent()).allow).toBe(false);
    expect(decide(policy({ agents: ["*", "default"] }, { agents: ["private"] }), agent()).allow).toBe(true);
  });
});

describe("for whom and when", () => {
  const echo: TaskSpec = { kind: "echo", input: {} };
  const ann = { token: "annannan", name: "ann" };
  const NIGHT = { node: "studio", now: Date.UTC(2026, 5, 1, 22), timeZone: "UTC" };
  const DAY = { ...NIGHT, now: Date.UTC(2026, 5, 1, 12) };
  const full = Policy.parse({ version: 1, users: { allow: ["ann"] }, hours: { quiet: ["21:00-07:00"] } });

  test("all of a policy's parts must allow it, and each says so", () => {
    expect(admit(full, { spec: echo, submitter: ann }, DAY)).toEqual({ allow: true, rules: ["allow.echo", "users.allow: ann"] });
    expect(admit(full, { spec: echo, submitter: { token: "x", name: "bob" } }, DAY)).toEqual({
      allow: false,
      reason: "the user bob may not use this node",
    });
    expect(admit(full, { spec: command(["ls"]), submitter: ann }, DAY)).toMatchObject({
      reason: expect.stringContaining("command ls") as string,
    });
    expect(mayGoOn(full, { spec: echo, submitter: ann })).toEqual(admit(full, { spec: echo, submitter: ann }, DAY));
    expect(admit(full, { spec: echo, submitter: ann }, NIGHT)).toEqual({
      allow: false,
      reason: "no new work until 07:00 (UTC)",
      rule: "hours.quiet: 21:00-07:00 (UTC)",
    });
    expect(admit(DEFAULT_POLICY, { spec: echo }, NIGHT).allow).toBe(true);
  });

  test("an offer that does not say who submitted it is nobody's", () => {
    expect(admit(full, { spec: echo }, DAY)).toMatchObject({ reason: "a user that is not known may not use this node" });
    expect(admit({ ...full, users: { allow: ["*"], deny: ["bob"] } }, { spec: echo }, DAY)).toMatchObject({ rule: "users.deny: bob" });
  });

  test("in quiet hours only what no other node may run is taken, where the policy says so", () => {
    const pinned = Policy.parse({ version: 1, hours: { quiet: ["21:00-07:00"], pinned: true } });
    const only = (...nodes: string[]): TaskSpec => ({ ...echo, require: { nodes: nodes as never } });
    expect(admit(pinned, { spec: only("studio") }, NIGHT).allow).toBe(true);
    for (const spec of [echo, only("studio", "nas2"), only("nas2")]) expect(admit(pinned, { spec }, NIGHT).allow).toBe(false);
    expect(admit(full, { spec: only("studio"), submitter: ann }, NIGHT).allow).toBe(false);
  });

  test("the summary tells both, and whether it is quiet now", () => {
    const { users, hours } = full;
    expect(summary(full, DAY)).toMatchObject({ users: { allow: ["ann"], deny: [] }, hours: { text: "21:00-07:00 (UTC)", pinned: false } });
    expect(summary(full, DAY).hours).not.toHaveProperty("quiet");
    expect(summary(full, NIGHT).hours?.quiet).toEqual({ until: Date.UTC(2026, 5, 2, 7), text: "07:00 (UTC)" });
    expect(summary(Policy.parse({ version: 1, users, hours: { ...hours, quiet: ["00:00-24:00"] } }), DAY).hours?.quiet).toEqual({});
  });

  test("a denial names its rule", () => {
    const strict = policy(
      { agents: ["*"], commands: ["git **"], tools: ["web_*"] },
      { agents: ["priv*"], commands: ["git push"], tools: ["web_post"] },
    );
    const rules = [agent("private"), command(["git", "push", "-f"]), { kind: "tool", input: { tool: "web_post" } } as TaskSpec].map(
      (spec) => decide(strict, spec),
    );
    expect(rules).toMatchObject([{ rule: "deny.agents: priv*" }, { rule: "deny.commands: git push" }, { rule: "deny.tools: web_post" }]);
    expect(decide(strict, command(["git", "pull"]))).toEqual({ allow: true, rules: ["allow.commands: git **"] });
  });
});

describe("sessions", () => {
  const open = (sessions: string[]): Policy => policy({ agents: ["helper", "default"], tools: ["*"], sessions });

  test("a user's own need no leave, the machine's do, and the cluster's a leave that names them", () => {
    for (const session of [undefined, "notes", "mainly"]) expect(decide(open([]), agent("helper", session)).allow).toBe(true);
    for (const session of ["main", "Main", "agent:helper:notes", "cluster-aecnrow5-t42"]) {
      expect(decide(open([]), agent("helper", session))).toMatchObject({ allow: false, reason: expect.stringContaining("is not allowed") });
      expect(decide(open(["*"]), agent("helper", session)).allow).toBe(!session.startsWith("cluster-"));
    }
    expect(decide(open(["main"]), agent(undefined, "MAIN"))).toEqual({
      allow: true,
      rules: ["allow.agents: default", "allow.sessions: main"],
    });
    const tool = { kind: "tool", input: { tool: "x", session: "main" } } as TaskSpec;
    expect([decide(open([]), tool).allow, decide(open(["main"]), tool).allow]).toEqual([false, true]);
  });

  test("a session key of OpenClaw's own form does not lead to another agent", () => {
    for (const session of ["agent:main:main", "agent:main:notes", "AGENT:Main:notes"])
      expect(decide(open(["*"]), agent("helper", session))).toMatchObject({ allow: false, reason: "the session belongs to another agent" });
    expect(decide(open(["*"]), agent("helper", "agent:Helper:notes")).allow).toBe(true);
  });

  test("one that is nobody's does not run", () => {
    for (const submitter of [undefined, { token: "" }]) {
      const asked = { spec: agent("helper", "notes"), submitter };
      expect(mayGoOn(open([]), asked)).toEqual({ allow: false, reason: "whose session notes is meant is not known" });
    }
    expect(mayGoOn(open([]), { spec: agent("helper", "notes"), submitter: { token: "annannan" } }).allow).toBe(true);
    expect(mayGoOn(open([]), { spec: agent("helper") }).allow).toBe(true);
  });
});

test("an agent in capitals is the same agent, as OpenClaw has it", () => {
  const strict = policy({ agents: ["*"] }, { agents: ["private"] });
  for (const name of ["private", "Private", "PRIVATE"]) expect(decide(strict, agent(name)).allow).toBe(false);
  expect(decide(policy({ agents: ["helper"] }), agent("Helper")).allow).toBe(true);
});

describe("commands", () => {
  test.each([
    [["uname -a"], ["uname", "-a"], true],
    [["uname -a"], ["uname"], false],
    [["uname -a"], ["uname", "-a", "-s"], false],
    [["git log *"], ["git", "log", "main"], true],
    [["git log *"], ["git", "log"], false],
    [["git log **"], ["git", "log"], true],
    [["git log **"], ["git", "log", "-n", "5"], true],
    [["git log **"], ["git", "push"], false],
    [["tar -xf *.tgz"], ["tar", "-xf", "a.tgz"], true],
    [["tar -xf *.tgz"], ["tar", "-xf", "a.tar"], false],
    [[["say", "two words"]], ["say", "two words"], true],
    [["**"], ["anything", "at", "all"], true],
    [["/opt/x"], ["/opt/x"], true],
    [["/opt/x"], ["/tmp/x"], false],
    [["**"], ["./x"], false],
    [["**"], ["bin/x"], false],
    [["**"], [".."], false],
  ])("%j on %j: %s", (rules, argv, expected) => {
    expect(allows(rules, argv)).toBe(expected);
  });

  test("a rule by path allows the bare name if it means that file", () => {
    expect(allows(["/usr/bin/git pull"], ["git", "pull"])).toBe(true);
    expect(allows(["/usr/bin/git pull"], ["git", "pull"], {}, { files: ["/usr/bin/git", "/usr/libexec/git"] })).toBe(true);
    expect(allows(["/usr/bin/git pull"], ["git", "pull"], {}, { files: ["/tmp/git", "/tmp/git"] })).toBe(false);
    expect(allows(["/usr/bin/git pull"], ["/tmp/git", "pull"])).toBe(false);
  });

  test.each([
    [["**"], ["sh", "-c", "evil"]],
    [["sh **"], ["sh", "-c", "evil"]],
    [["/bin/bash **"], ["/bin/bash", "-lc", "evil"]],
    [["bash **"], ["bash", "-o", "pipefail", "-c", "evil"]],
    [["bash **"], ["bash", "+x", "-c", "evil"]],
    [["python3 **"], ["python3", "-cimport os"]],
    [["python3.12 **"], ["python3.12", "-c", "evil"]],
    [["node **"], ["node", "--eval=evil"]],
    [["perl *"], ["perl", "-eevil"]],
    [["cmd **"], ["cmd", "/c", "evil"]],
    [["env **"], ["env", "sh", "x"]],
    [["env *"], ["env", "evil"]],
    [["sudo **"], ["sudo", "evil"]],
    [["find / **"], ["find", "/", "-exec", "evil"]],
    [["awk * file"], ["awk", "BEGIN{system(1)}", "file"]],
  ])("an interpreter's code is not covered by a star (C2): %j on %j", (rules, argv) => {
    expect(allows(rules, argv)).toBe(false);
  });

  test("an interpreter may run what stands in the rule", () => {
    expect(allows(["python3 **"], ["python3", "report.py", "today"])).toBe(true);
    expect(allows(["python3 -m *"], ["python3", "-m", "http.server"])).toBe(true);
    expect(allows(["sh -c *"], ["sh", "-c", "anything"])).toBe(true);
    expect(allows(["sudo systemctl restart *"], ["sudo", "systemctl", "restart", "nginx"])).toBe(true);
    expect(allows(["cmd /c *"], ["cmd", "/c", "anything"])).toBe(true);
  });

  test("code on stdin counts as code", () => {
    expect(allows(["sh", "sh **", "**"], ["sh"], { stdin: "evil" })).toBe(false);
    expect(allows(["python3 **"], ["python3", "count.py"], { stdin: "data" })).toBe(false);
    expect(allows(["python3 count.py **"], ["python3", "count.py", "-v"], { stdin: "data" })).toBe(false);
    expect(allows(["python3 count.py *"], ["python3", "count.py", "all"], { stdin: "data" })).toBe(true);
    expect(allows(["python3 -"], ["python3", "-"], { stdin: "allowed" })).toBe(true);
    expect(allows(["cat"], ["cat"], { stdin: "data" })).toBe(true);
  });

  test("a link to an interpreter is one", () => {
    expect(allows(["run **"], ["run", "-c", "evil"], {}, { files: ["/usr/local/bin/run", "/usr/bin/dash"] })).toBe(false);
  });

  test("where one file is every program, options are options", () => {
    expect(allows(["ls **"], ["ls", "-l"], {}, { files: ["/bin/ls", "/bin/busybox"] })).toBe(true);
  });

  test("variables and folders need to be allowed", () => {
    expect(allows(["x"], ["x"], { env: { TZ: "UTC", APP_MODE: "1" } })).toBe(true);
    expect(allows(["x"], ["x"], { env: { LD_PRELOAD: "/tmp/evil.so" } })).toBe(false);
    expect(allows(["x"], ["x"], { cwd: "/srv/tasks/a" })).toBe(true);
    for (const cwd of ["/srv", "/srv/tasksmith", "/srv/tasks/../..", "srv/tasks", "/"]) expect(allows(["x"], ["x"], { cwd })).toBe(false);
    expect(allows(["x"], ["x"], { cwd: "/srv/tasks" }, { files: [], cwd: "/etc" })).toBe(false);
  });

  test("a reason holds no argument (N3)", () => {
    const decision = decide(policy({}), command(["curl", "-H", "authorization: secret"]));
    expect(JSON.stringify(decision)).not.toContain("secret");
  });
});

test("a pattern's star stands for any characters; matching agrees with a regular expression", () => {
  const piece = fc.array(fc.constantFrom("a", "b", "*", "."), { maxLength: 8 }).map((parts) => parts.join(""));
  fc.assert(
    fc.property(piece, fc.stringMatching(/^[ab.]{0,10}$/), (pattern, text) => {
      const expression = new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", ".*")}$`);
      expect(matches(pattern, text)).toBe(expression.test(text));
    }),
  );
});

test("matching a hostile pattern is not slow: at most length times length steps", () => {
  expect(matches(`${"*a".repeat(120)}b`, "a".repeat(4_000))).toBe(false);
});

describe("the summary for placement", () => {
  test("says which kinds, agents and programs; an absent list means any", () => {
    expect(summary(DEFAULT_POLICY, NOON)).toEqual({ kinds: ["echo", "agent"], sessions: [], commands: [] });
    expect(summary(policy({ agents: ["*"], tools: ["*"], commands: ["**"] }, { kinds: ["echo"] }), NOON)).toEqual({
      kinds: ["command", "agent", "tool"],
      sessions: [],
      rules: { commands: ["**"], folders: [], variables: [], secrets: [] },
    });
    expect(summary(policy({ agents: ["h*"], commands: ["git pull", "git log", "/opt/x"] }), NOON, ["helper", "main"])).toMatchObject({
      kinds: ["echo", "command", "agent"],
      agents: ["helper"],
      commands: ["git", "/opt/x"],
    });
    expect(summary(policy({ agents: ["*"] }, { agents: ["private"] }), NOON, ["main", "private"])).toMatchObject({ agents: ["main"] });
    expect(summary(policy({ agents: ["default", "main"] }), NOON, ["main", "private"])).toMatchObject({ agents: ["default", "main"] });
  });

  test("says which tools and sessions, where not any", () => {
    const tools = policy({ tools: ["web_fetch", "web_*"], sessions: ["main"] }, { tools: ["web_post"] });
    expect(summary(tools, NOON)).toMatchObject({ tools: { allow: ["web_fetch", "web_*"], deny: ["web_post"] }, sessions: ["main"] });
    expect(summary(policy({ tools: ["*"] }, { tools: ["web_post"] }), NOON).tools).toEqual({ allow: ["*"], deny: ["web_post"] });
    for (const absent of ["tools", "sessions", "rules"]) expect(summary(policy({}), NOON)).not.toHaveProperty(absent);
  });

  test("says how commands are ruled, in so many lines of such a length, and how many there are more", () => {
    const many = Array.from({ length: 70 }, (_, index) => `tool${index}`);
    const commands = [{ run: "make -C /p", sandbox: "required", network: true }, ["say", "two words"], `echo ${"x".repeat(400)}`, ...many];
    const whole = policy({ commands, cwds: ["/p"], env: ["TZ"], secrets: ["KEY"] }, { commands: ["rm"], cwds: ["/p/private"] });
    const { rules } = summary(whole, NOON);
    expect(rules).toMatchObject({ folders: ["/p", "never /p/private"], variables: ["TZ"], secrets: ["KEY"], leftOut: 10 });
    expect(rules?.commands.slice(0, 2)).toEqual(["make -C /p (sandbox required; network)", 'say "two words"']);
    expect(rules?.commands[2]).toHaveLength(256);
    expect(rules?.commands).toHaveLength(64);
    expect(summary(policy({ commands: ["ls"] }, { commands: ["rm"] }), NOON).rules?.commands).toEqual(["ls", "never rm"]);
  });
});
