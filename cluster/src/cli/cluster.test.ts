import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { runCli, startCli, type CliOptions } from "../../../tests/support/terminal.ts";
import { foldersOf, logFile, makeFolders } from "../system/folders.ts";

let api: TestApi;
let home: string;
let env: Record<string, string>;
beforeEach(async () => {
  api = await startApi();
  home = await mkdtemp(join(tmpdir(), "cli-"));
  env = { OPENCLAW_CLUSTER_HOME: home, OPENCLAW_CLUSTER_URL: api.url, OPENCLAW_CLUSTER_TOKEN: api.tokens.admin };
});
afterEach(async () => {
  await api.close();
  await rm(home, { recursive: true });
});

const cli = (argv: readonly string[], options: CliOptions = {}): ReturnType<typeof runCli> => runCli(argv, { env, ...options });
const echo: TaskSpec = { kind: "echo", input: {} };
const submit = (...specs: TaskSpec[]) => api.coordinator.submit({ owner: "test", specs });

describe("the cluster", () => {
  it("on one screen", async () => {
    const { code, stdout } = await cli(["status"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^cluster +home \(abcd1234\), all well$/m);
    expect(stdout).toMatch(/^slots +1 of 4 taken$/m);
    expect(stdout).toMatch(/^studio +ready +1\/4 +25 % +1 MiB +darwin\/arm64/m);
    expect(Object.keys(JSON.parse((await cli(["status", "--json"])).stdout) as object)).toEqual(["cluster", "health", "queue", "nodes"]);
  });

  it("says of one control node what its death would cost, and what to do", async () => {
    const { code, stdout } = await cli(["cluster"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^leader +studio, term 1, for /m);
    expect(stdout).toContain("There is one control node; nothing switches over when it dies.");
    expect(stdout).toContain(`openclaw-cluster config set backup.folder <folder> --home ${home}`);
    expect((await cli(["status"])).stdout).toMatch(/^control +1 node, nothing switches over when it dies$/m);
    expect(JSON.parse((await cli(["cluster", "--json"])).stdout)).toMatchObject({ id: "abcd1234", coordinator: "studio" });
  });

  it("says of three who leads, who stands by and how far behind, and who is away", async () => {
    const urls = ["https://nas2:8888"];
    const id = (name: string): NodeId => name as NodeId;
    api.coordinator.shared = {
      control: [
        { node: id("nas2"), state: "standby", version: "0.1.0", urls, epoch: 1, lagMs: 12 },
        { node: id("studio"), state: "leader", urls: [], epoch: 1 },
        { node: id("vm"), state: "away", urls: [] },
      ],
      standsBy: { staleMs: 4_200 },
      store: { kind: "etcd", members: [{ id: "8e9e", name: "", state: "leader", urls: [], term: 12, bytes: 20 * 1_048_576 }] },
      bus: { connected: true, mode: "cluster", servers: [{ name: "ocx-vm", version: "2.15.1", connections: 3, routes: ["a", "b"] }] },
    };
    const { stdout } = await cli(["cluster"]);
    expect(stdout).toMatch(/^leader +studio, term 1$/m);
    expect(stdout).toMatch(/^answered by +studio, which stands by; as of 4\.2s ago$/m);
    expect(stdout).toMatch(/^nas2 +standby +1 +12ms +0\.1\.0 +https:\/\/nas2:8888$/m);
    expect(stdout).toMatch(/^vm +away +-$/m);
    expect(stdout).toMatch(/^8e9e +leader +12 +20 MiB$/m);
    expect(stdout).toMatch(/^ocx-vm +3 +a, b +2\.15\.1$/m);
    expect(stdout).toContain("The store has one etcd member; it stands still when it dies.");
    expect((await cli(["status"])).stdout).toMatch(/^control +3 nodes: studio leads; nas2 stands by; vm is away$/m);
  });

  it("lists and shows nodes", async () => {
    expect((await cli(["nodes"])).stdout).toBe((await cli(["nodes", "list"])).stdout);
    expect(JSON.parse((await cli(["nodes", "--json"])).stdout)).toMatchObject({ nodes: [{ id: "studio" }] });
    const { stdout } = await cli(["nodes", "show", "studio"]);
    expect(stdout).toMatch(/^system +darwin\/arm64, 8 processors, 16\.0 GiB$/m);
    expect(stdout).toMatch(/^skills +summarize$/m);
    expect(await cli(["nodes", "show", "nas"])).toMatchObject({ code: 1, stderr: expect.stringContaining("not_found") });
  });

  it("says of a node why it takes no new work", async () => {
    api.coordinator.changeNode({ load: { cpu: 0, memoryFreeMiB: 1, diskFreeMiB: 12, running: 0, held: 0, diskFull: "floor" } });
    expect((await cli(["nodes"])).stdout).toMatch(/^studio +ready, disk full: 12 MiB free +1\/4/m);
    expect((await cli(["nodes", "show", "studio"])).stdout).toMatch(/^state +ready, disk full: 12 MiB free$/m);
    api.coordinator.changeNode({ state: "lost" });
    expect((await cli(["nodes"])).stdout).toMatch(/^studio +lost +1\/4/m);
  });

  it("changes nodes", async () => {
    expect((await cli(["nodes", "label", "studio", "gpu=yes", "old-"])).code).toBe(0);
    expect(api.coordinator.patches).toEqual([{ labels: { gpu: "yes", old: null } }]);
    expect((await cli(["nodes", "drain", "studio"])).stdout).toBe("studio ready, draining\n");
    expect((await cli(["nodes", "resume", "studio"])).stdout).toBe("studio ready\n");
    expect((await cli(["nodes", "shutdown", "studio"])).code).toBe(0);
    expect((await cli(["nodes", "remove", "studio"])).stdout).toMatch(/^studio is out of the cluster/);
    expect(api.coordinator.removals).toEqual(["studio"]);
    expect((await cli(["nodes", "label", "studio", "gpu"])).code).toBe(2);
  });

  it("waits until a drained node has nothing to do, or somebody resumes it, or the person goes", async () => {
    const [task] = await submit(echo);
    api.coordinator.tasks.set(task!.id, { ...api.coordinator.tasks.get(task!.id)!, state: "running", node: "studio" as NodeId });
    const drain = () => startCli(["nodes", "drain", "studio", "--wait"], { env, errColumns: 100 });
    const patient = drain();
    await patient.terminal.until(({ stderr }) => stderr === "studio still has t1\n");
    api.coordinator.changeNode({ slotsUsed: 0 });
    expect(await patient.ended).toBe(0);
    expect(patient.terminal.stdout).toBe(
      "studio has nothing to do any more: its machine may be switched off; but it runs the coordinator, without which the cluster stands still\n",
    );
    expect(JSON.parse((await cli(["nodes", "drain", "studio", "--wait", "--json"])).stdout)).toMatchObject({
      drained: true,
      coordinator: true,
      node: { id: "studio", draining: true },
    });
    api.coordinator.changeNode({ slotsUsed: 1 });
    const overruled = drain();
    await overruled.terminal.until(({ stderr }) => stderr !== "");
    await cli(["nodes", "resume", "studio"]);
    expect(await overruled.ended).toBe(1);
    expect(overruled.terminal.stdout).toBe("studio takes new work again: somebody resumed it\n");
    const hurried = drain();
    await hurried.terminal.until(({ stderr }) => stderr !== "");
    hurried.terminal.interrupt();
    expect(await hurried.ended).toBe(130);
    expect(hurried.terminal.stderr).toContain(
      "studio goes on draining; give it new work again: openclaw-cluster nodes resume studio --home",
    );
    expect(JSON.parse((await cli(["nodes", "show", "studio", "--json"])).stdout)).toMatchObject({ draining: true });
  });

  it("says of a task that waits for a person how to answer, wherever it shows", async () => {
    const [task] = await submit({ kind: "agent", input: { message: "hello" } });
    const error = { code: "node_lost", message: "The node studio was lost." } as const;
    api.coordinator.tasks.set(task!.id, { ...api.coordinator.tasks.get(task!.id)!, state: "waiting", reason: "asked", error });
    const line = /t1 waits for a person: openclaw-cluster answer t1 retry\|fail --home \S+; what happened: openclaw-cluster show t1 --home/;
    expect((await cli(["status"])).stdout).toMatch(line);
    expect((await cli(["ps"])).stderr).toMatch(line);
    expect((await cli(["ps", "--json"])).stderr).toBe("");
    expect((await cli(["show", "t1"])).stdout).toMatch(
      /^error +The node studio was lost \(node_lost\)\nyour turn +openclaw-cluster answer t1 retry .*\(runs it again; what it did may be done twice\)\n +openclaw-cluster answer t1 fail .*\(gives it up\)$/m,
    );
  });

  it("shows the queue", async () => {
    await submit(echo, echo);
    const { stdout } = await cli(["queue", "--limit", "1"]);
    expect(stdout).toMatch(/^2 queued, 0 for later, 0 waiting for a person\n\n[^\n]+\nt1 .*\nand 1 more\n$/);
  });

  it("follows events", async () => {
    const listening = (count: number): Promise<unknown> =>
      vi.waitFor(() => expect(api.coordinator.listening).toBe(count), { timeout: 3_000 });
    const { terminal, ended } = startCli(["events", "--limit", "1", "--json"], { env });
    await listening(1);
    const [task] = await submit(echo);
    api.coordinator.finish([task!.id]);
    expect(await ended).toBe(0);
    expect(JSON.parse(terminal.stdout)).toMatchObject({ type: "task", task: "t1", state: "succeeded" });

    await listening(0);
    const people = startCli(["events"], { env });
    await listening(1);
    api.coordinator.finish([task!.id]);
    await people.terminal.until(({ stdout }) => stdout !== "");
    people.terminal.interrupt();
    expect(await people.ended).toBe(130);
    expect(people.terminal.stdout).toMatch(/^\d\d:\d\d:\d\d t1 succeeded on studio \(done\)\n$/);
  });
});

describe("invite and join", () => {
  const read = (name: string): Promise<string> => readFile(join(home, name), "utf8");
  const invite = async (): Promise<string> => {
    api.coordinator.apiUrls = [api.url];
    return JSON.parse((await cli(["invite", "--json"])).stdout).code as string;
  };
  /** As on another machine: no token, no environment. */
  const there = (...argv: string[]) => cli(argv, { env: { OPENCLAW_CLUSTER_HOME: home } });

  it("prints the line for the other machine, and says what follows", async () => {
    const open = await cli(["invite", "--node-id", "nas2", "--minutes", "5"]);
    expect(open.stdout).toMatch(/within 5 minutes:\n\n {2}openclaw-cluster join ocj1_[\w-]+\n\nThen let it in here: .*nodes approve nas2/);
    expect(open.stderr).toContain("listens on this machine's loopback only");
    expect((await cli(["invite", "--approve"])).stdout).toContain("let in at once");
    expect(await cli(["invite", "--minutes", "0"])).toMatchObject({ code: 2, stderr: expect.stringContaining("--minutes") });
  });

  it("joins with a key of its own, proves the code and sends none of it, and keeps no token", async () => {
    const code = await invite();
    const joined = await there("join", "--no-start", code, "--node-id", "nas2");
    expect(joined).toMatchObject({ code: 0, stdout: expect.stringContaining("nas2 has joined test and waits to be let in") });
    expect(await read("cluster.yaml")).toContain(`nodeId: nas2\nroles:\n  - worker\ncoordinator:\n  url: ${api.url}\n`);
    if (process.platform !== "win32") expect((await stat(join(home, "node.seed"))).mode & 0o777).toBe(0o600);
    await expect(read("coordinator.token")).rejects.toThrow("ENOENT");
    const sent = JSON.stringify(api.coordinator.joins);
    expect(sent).not.toContain(code.slice(10, 40));
    expect(sent).not.toContain((await read("node.seed")).trim());
    expect(JSON.parse((await there("join", "--no-start", await invite(), "--json")).stdout)).toMatchObject({
      node: "nas2",
      url: api.url,
      state: "pending",
    });
  });

  it("changes nothing when whoever answers does not know the code, or does not know it any more", async () => {
    const old = await invite();
    await invite();
    expect(await there("join", "--no-start", old)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("not the coordinator that made it"),
    });
    expect(await there("join", "--no-start", await invite(), "--node-id", "stranger")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("unknown"),
    });
    await expect(read("cluster.yaml")).rejects.toThrow("ENOENT");
  });

  it("tries every address of the code, or the one that --url names", async () => {
    api.coordinator.apiUrls = ["http://127.0.0.1:1", api.url];
    const { code } = JSON.parse((await cli(["invite", "--json"])).stdout) as { code: string };
    expect(await there("join", "--no-start", code)).toMatchObject({ code: 0 });
    expect(await read("cluster.yaml")).toContain(`url: ${api.url}\n`);
    api.coordinator.apiUrls = ["http://127.0.0.1:1"];
    const other = JSON.parse((await cli(["invite", "--json"])).stdout) as { code: string };
    expect(await there("join", "--no-start", other.code)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("nothing answers at http://127.0.0.1:1"),
    });
    expect(await there("join", "--no-start", other.code, "--url", api.url)).toMatchObject({ code: 0 });
  });

  it("wants a code, and a folder that is not a coordinator's", async () => {
    expect(await there("join", "--no-start", api.url)).toMatchObject({ code: 2, stderr: expect.stringContaining("ocj1_") });
    await writeFile(join(home, "admin.token"), "t");
    expect(await there("join", "--no-start", await invite())).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("is a coordinator's folder"),
    });
  });
});

describe("audit", () => {
  it("lists who did what, and says where the chain is broken", async () => {
    expect((await cli(["audit"])).stdout).toMatch(/1 +.* coordinator +node\.enrolled +studio/);
    // The fake's hash is not that of its entry.
    expect(await cli(["audit", "verify"])).toMatchObject({ code: 1, stdout: expect.stringContaining("entry 1 does not follow") });
    expect(await cli(["audit", "verify", "--expect", "no"])).toMatchObject({ code: 2, stderr: expect.stringContaining("--expect") });
  });
});

describe("token", () => {
  it("makes one that is shown once or written to a file, lists what there is, and takes it back", async () => {
    const made = await cli(["token", "create", "ci", "--scope", "viewer"]);
    const [token] = made.stdout.split("\n") as [string];
    const reader = (one: string) => cli(["status"], { env: { ...env, OPENCLAW_CLUSTER_TOKEN: one } });
    expect((await reader(token)).code).toBe(0);
    const listed = await cli(["token"]);
    expect(listed.stdout).toMatch(/TOKEN +SCOPE +USER +NAME/);
    expect(listed.stdout).toContain("never");
    expect(listed.stdout).not.toContain(token.slice(13));
    expect((await cli(["token", "revoke", token])).stdout).toContain("opens nothing any more");
    expect((await reader(token)).code).toBe(1);

    const out = join(home, "ci.token");
    const kept = await cli(["token", "create", "ci", "--days", "30", "--out", out]);
    expect((await reader((await readFile(out, "utf8")).trim())).code).toBe(0);
    expect(kept.stdout).not.toContain((await readFile(out, "utf8")).trim());
    if (process.platform !== "win32") expect((await stat(out)).mode & 0o777).toBe(0o600);
  });

  it("says for whom it speaks", async () => {
    expect((await cli(["token", "create", "phone", "--user", "ann"])).stdout).toContain("It speaks for ann; its scope is submitter");
    expect((await cli(["token"])).stdout).toMatch(/submitter +ann +phone/);
    expect((await cli(["token", "create", "phone", "--user", "an\nn"])).code).toBe(2);
  });

  it("gives it another secret, shown once, and puts the folder's own into its place", async () => {
    const reader = (one: string) => cli(["status"], { env: { ...env, OPENCLAW_CLUSTER_TOKEN: one } });
    const [token] = (await cli(["token", "create", "ci"])).stdout.split("\n") as [string];
    const id = token.slice(4, 12);
    const [other] = (await cli(["token", "rotate", id, "--grace", "60"])).stdout.split("\n") as [string];
    expect([other.slice(0, 13), other === token]).toEqual([`occ_${id}_`, false]);
    expect((await reader(other)).code).toBe(0);
    expect(await cli(["token", "rotate", id, "--grace", "-1"])).toMatchObject({ code: 2, stderr: expect.stringContaining("--grace") });

    const file = join(home, "admin.token");
    await writeFile(file, `${other}\n`);
    const kept = await cli(["token", "rotate", id]);
    expect(kept.stdout).toContain(`${id}'s other secret is in ${file}. The one of before is refused.`);
    expect((await reader((await readFile(file, "utf8")).trim())).code).toBe(0);
    expect((await reader(other)).code).toBe(1);
  });

  it("wants words that it understands", async () => {
    expect(await cli(["token", "create", "ci", "--days", "-1"])).toMatchObject({ code: 2, stderr: expect.stringContaining("--days") });
    expect((await cli(["token", "create", "ci", "--scope", "root"])).code).toBe(2);
    expect(await cli(["token", "revoke", "no"])).toMatchObject({ code: 2, stderr: expect.stringContaining("8 characters") });
    expect((await cli(["token", "revoke", "zzzzzzzz"])).code).toBe(1);
  });
});

describe("config", () => {
  it("sets, gets, and takes back", async () => {
    expect((await cli(["config", "set", "api.port", "9000"])).stdout).toContain("written to");
    expect((await cli(["config", "set", "api.port", "9000"])).stdout).toContain("says so already");
    expect(await cli(["config", "get", "api.port"])).toMatchObject({ code: 0, stdout: "9000\n" });
    expect((await cli(["config", "get"])).stdout).toMatch(/^api:\n {2}host: 127\.0\.0\.1\n {2}public: false\n {2}port: 9000\n/m);
    expect(await cli(["config", "get", "nats.binary"])).toMatchObject({ code: 1, stdout: "" });
    expect((await cli(["config", "unset", "api.port"])).code).toBe(0);
    expect(JSON.parse((await cli(["config", "get", "api", "--json"])).stdout)).toMatchObject({ port: 8888 });
  });

  it("prints a JSON Schema", async () => {
    const schema = JSON.parse((await cli(["config", "schema"])).stdout) as { properties: Record<string, unknown> };
    expect(Object.keys(schema.properties)).toContain("strategy");
  });

  it("ends with 2 where the file is broken, naming the line", async () => {
    await writeFile(join(home, "cluster.yaml"), "clusterName: x\nslots: many\n");
    expect(await cli(["config", "get"])).toMatchObject({ code: 2, stderr: expect.stringContaining("cluster.yaml:2: slots") });
  });
});

describe("the daemon's log", () => {
  const entry = (msg: string, more: object = {}): string => `${JSON.stringify({ level: 40, time: 1_795_392_540_674, ...more, msg })}\n`;

  it("shows the last lines of the newest file, for people or as they are", async () => {
    const folders = foldersOf(home);
    await makeFolders(folders);
    await writeFile(logFile(folders, new Date("2026-01-01")), entry("old"));
    await writeFile(
      logFile(folders, new Date("2026-01-02")),
      entry("one") + entry("two", { node: "studio", err: { message: "boom", stack: "…" } }) + "Aborted\n",
    );
    const { stdout } = await cli(["logs", "-n", "2"]);
    expect(stdout).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d warn {2}two node=studio err=boom\nAborted\n$/);
    expect((await cli(["logs", "-n", "3", "--json"])).stdout.split("\n")[0]).toBe(entry("one").trimEnd());
  });

  it("follows it, from one day's file to the next", async () => {
    const folders = foldersOf(home);
    await makeFolders(folders);
    await writeFile(logFile(folders, new Date("2026-01-01")), entry("one"));
    const { terminal, ended } = startCli(["logs", "-f"], { env });
    await terminal.until(({ stdout }) => stdout.includes("one"));
    await writeFile(logFile(folders, new Date("2026-01-01")), entry("two"), { flag: "a" });
    await terminal.until(({ stdout }) => stdout.includes("two"));
    // Longer than what is read at once: it comes in parts, and whole.
    const long = "x".repeat(300_000);
    const shown = terminal.stdout.length;
    await writeFile(logFile(folders, new Date("2026-01-01")), `${long}\n`, { flag: "a" });
    await terminal.until(({ stdout }) => stdout.slice(shown).replaceAll("\n", "") === long);
    await writeFile(logFile(folders, new Date("2026-01-02")), entry("three"));
    await terminal.until(({ stdout }) => stdout.includes("three"));
    terminal.interrupt();
    expect(await ended).toBe(130);
  });

  it("says where it looked", async () => {
    expect(await cli(["logs"])).toMatchObject({ code: 1, stderr: expect.stringContaining(join(home, "logs")) });
  });
});

describe("doctor", () => {
  it("finds the coordinator's clock apart, and says what to do", async () => {
    env["OPENCLAW_CLUSTER_OPENCLAW"] = "off";
    env["OPENCLAW_CLUSTER_API_PORT"] = "0";
    const { code, stdout } = await cli(["doctor"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ok +Node\.js/m);
    expect(stdout).toMatch(/^warn +coordinator +.*its clock and this one are \d+d\d*h* apart$/m);
    expect(stdout).toContain("What to do");
    const lint = await cli(["doctor", "--lint", "--json"]);
    expect(lint.code).toBe(1);
    expect(JSON.parse(lint.stdout)).toMatchObject({
      ok: false,
      checks: expect.arrayContaining([expect.objectContaining({ name: "folders", level: "ok" })]),
    });
  });

  it("names a broken cluster.yaml and goes on with the rest", async () => {
    await writeFile(join(home, "cluster.yaml"), "slots: many\n");
    const { stdout } = await cli(["doctor"]);
    expect(stdout).toMatch(/^fail +cluster\.yaml +.*cluster\.yaml:1: slots/m);
    expect(stdout).toMatch(/^ok +disk/m);
  });
});

describe("drill", () => {
  it("wants a coordinator, an administrator's token, and one form", async () => {
    expect(await cli(["drill", "--node", "studio", "--coordinator"])).toMatchObject({ code: 2, stdout: "" });
    expect(await cli(["drill", "--tasks", "1001"])).toMatchObject({ code: 2, stdout: "" });
    const nowhere = await cli(["drill"], { env: { ...env, OPENCLAW_CLUSTER_URL: "http://127.0.0.1:1" } });
    expect(nowhere).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(/coordinator_unreachable\)\n hint: .+\n$/) });
    const refused = await cli(["drill"], { env: { ...env, OPENCLAW_CLUSTER_TOKEN: api.tokens.operator } });
    expect(refused).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(/admin.*\(forbidden\)\n hint: .+\n$/) });
  });
});
