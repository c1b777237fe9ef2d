/** A machine's own commands about its place in the cluster, against an API that takes every proof but the stranger's. */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { NODE } from "../../../tests/support/fake-answers.ts";
import { COORDINATOR_KEY } from "../../../tests/support/fake-keys.ts";
import { serviceManagers, type ServiceManagers } from "../../../tests/support/service-managers.ts";
import { runCli, type CliRun } from "../../../tests/support/terminal.ts";
import { claimHome } from "../system/home-claim.ts";
import { loadNodeKeys } from "../trust/keys.ts";

let api: TestApi;
let home: string;
let env: Record<string, string>;
beforeEach(async () => {
  api = await startApi();
  home = await mkdtemp(join(tmpdir(), "membership-"));
  await mkdir(join(home, "data"), { mode: 0o700 });
  // No unit of whoever runs this may be found, nor be taken away.
  env = { OPENCLAW_CLUSTER_HOME: home, XDG_CONFIG_HOME: join(home, "config"), HOME: home, PATH: process.env["PATH"] ?? "" };
  await settings(NODE);
});
afterEach(async () => {
  await api.close();
  await rm(home, { recursive: true });
});

/** As `join` leaves it. */
async function settings(nodeId: string): Promise<void> {
  const own = `# mine\nnodeId: ${nodeId}\nroles: [worker]\nlabels: {room: office}\nopenclaw: {enabled: off}\n`;
  await writeFile(join(home, "cluster.yaml"), `${own}coordinator: {url: "${api.url}"}\n`);
  await writeFile(join(home, "coordinator.key"), COORDINATOR_KEY);
}
const here = (...argv: string[]): Promise<CliRun> => runCli(argv, { env });
const seedFile = (): string => join(home, "node.seed");

describe("probe", () => {
  it("shows a check list with a mark for each, and as one document", async () => {
    const text = await here("probe");
    expect(text.code).toBe(0);
    expect(text.stdout).toMatch(/^✔ cluster +studio is a node of test \(abcd1234\), at http/m);
    expect(text.stdout).toMatch(/^✔ task +t1, an echo, ran here, \d+ ms from asking to the answer$/m);
    expect(text.stdout).toMatch(/^✔ seen as +ready, 4 slots, echo agent$/m);
    expect(text.stdout).toMatch(/^! clock +\d+ s from the coordinator's\n +→ Let both machines/m);
    expect(text.stdout).toMatch(/^✔ policy\.yaml +may run here: echo, agent, model$/m);
    const { checks, ...rest } = JSON.parse((await here("probe", "--json")).stdout) as { checks: { name: string }[] };
    expect(rest).toMatchObject({ ok: true, node: "studio", echo: { task: "t1", ms: expect.any(Number) as number } });
    expect(checks.map(({ name }) => name)).toEqual(["cluster", "task", "seen as", "version", "clock", "policy.yaml", "OpenClaw", "disk"]);
    expect(JSON.parse((await here("probe", "--turn", "--json")).stdout).checks[2]).toMatchObject({ name: "agent turn", level: "ok" });
  });

  it("puts a cross where work does not come, with the next step, and ends with 1", async () => {
    const { probe } = api.coordinator;
    api.coordinator.probe = async (id) => ({ ...(await probe.call(api.coordinator, id)), state: "cancelled", why: "No node is ready." });
    expect(await here("probe")).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^✘ task +t1 has not run here: No node is ready\.\n +→ Does the daemon run\?/m) as string,
    });
    const error = { code: "policy_denied" as const, message: "This node's policy: echo is not allowed." };
    api.coordinator.probe = async (id) => ({ ...(await probe.call(api.coordinator, id)), state: "failed", error });
    expect(await here("probe")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^! task +t1 was refused here: This node's/m) as string,
    });
  });

  it("obeys no other coordinator than the one that was joined", async () => {
    await writeFile(join(home, "coordinator.key"), `U${"B".repeat(55)}`);
    for (const command of ["probe", "rotate", "leave"])
      expect(await here(command)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("does not prove to be the coordinator that this machine has joined") as string,
      });
    expect(existsSync(`${seedFile()}.next`)).toBe(false);
  });

  it("says what to do where the cluster does not know this machine, or is not there", async () => {
    await settings("stranger");
    expect(await here("probe")).toMatchObject({ code: 2, stderr: expect.stringContaining("knows no node stranger") as string });
    await api.close();
    expect(await here("probe")).toMatchObject({ code: 1, stderr: expect.stringContaining("coordinator_unreachable") as string });
    api = await startApi();
  });
});

describe("rotate", () => {
  it("puts another key into the place of this one", async () => {
    const before = await loadNodeKeys(seedFile());
    expect(await here("rotate")).toMatchObject({ code: 0, stdout: "studio has another key; the old one opens nothing any more\n" });
    expect((await loadNodeKeys(seedFile())).publicKey).not.toBe(before.publicKey);
    expect((await readdir(home)).filter((name) => name.startsWith("node.seed"))).toEqual(["node.seed"]);
  });

  it("keeps both where no answer came: either may be the one that counts", async () => {
    const before = await loadNodeKeys(seedFile());
    api.coordinator.rotate = () => Promise.reject(new Error("lost"));
    expect((await here("rotate")).code).toBe(1);
    expect(await loadNodeKeys(seedFile())).toEqual(before);
    expect(existsSync(`${seedFile()}.next`)).toBe(true);
  });
});

describe("leave", () => {
  const left = async (): Promise<void> => {
    const yaml = await readFile(join(home, "cluster.yaml"), "utf8");
    expect(yaml).toContain("# mine");
    expect(yaml).toContain("room: office");
    expect(yaml).not.toContain("http");
    expect((await readdir(home)).filter((name) => /seed|token|\.key/.test(name))).toEqual([]);
    expect(await here("start")).toMatchObject({ code: 2, stderr: expect.stringContaining("`openclaw-cluster join` writes it") as string });
  };

  it("is forgotten by the cluster and forgets it, and keeps what is not its", async () => {
    await loadNodeKeys(seedFile());
    await writeFile(join(home, "policy.yaml"), "version: 1\n");
    const asked: string[] = [];
    const { leave } = api.coordinator;
    api.coordinator.leave = (id, request) => {
      asked.push(request.wish);
      return leave.call(api.coordinator, id, request);
    };
    expect(await here("leave")).toMatchObject({ code: 0, stdout: expect.stringContaining("studio has left its cluster") as string });
    expect(asked).toEqual(["drain", "go"]);
    expect(await readFile(join(home, "policy.yaml"), "utf8")).toBe("version: 1\n");
    await left();
    expect(await here("leave")).toMatchObject({ code: 1, stderr: expect.stringContaining("is in no cluster") as string });
  });

  it("finishes what was cut short: the cluster has forgotten it already", async () => {
    await settings("stranger");
    expect((await here("leave")).code).toBe(0);
    await left();
  });

  it("finishes it also where only the settings are left", async () => {
    await rm(join(home, "coordinator.key"));
    expect((await here("leave")).code).toBe(0);
    await left();
  });

  it("stays where nobody can say who its coordinator is", async () => {
    await loadNodeKeys(seedFile());
    await rm(join(home, "coordinator.key"));
    expect(await here("leave")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("does not know its coordinator's key") as string,
    });
    expect(existsSync(seedFile())).toBe(true);
  });

  it("stays, and takes work again, where what it has does not end in time", async () => {
    const wishes: string[] = [];
    api.coordinator.leave = (node, { wish }) => {
      wishes.push(wish);
      return Promise.resolve({ node, gone: false, wasDraining: false, held: 7, tasks: [] });
    };
    expect(await here("leave", "--wait", "1")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("and 7 more, and so it stays") as string,
    });
    expect([wishes[0], wishes.at(-1)]).toEqual(["drain", "stay"]);
    expect(await readFile(join(home, "cluster.yaml"), "utf8")).toContain(api.url);
  });

  it("is refused where the coordinator is not there, unless it is given up: then it says what is left to do", async () => {
    await loadNodeKeys(seedFile());
    await api.close();
    const refused = await here("leave");
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/nothing answers .*leave --force/) as string });
    expect(existsSync(seedFile())).toBe(true);
    const claim = claimHome(home, join(home, "data"));
    expect(await here("leave", "--force")).toMatchObject({ code: 1, stderr: expect.stringContaining("already_running") as string });
    claim.release();
    expect(await here("leave", "--force")).toMatchObject({ code: 0, stdout: expect.stringContaining("nodes remove studio") as string });
    await left();
    api = await startApi();
  });

  it("is refused on the coordinator's machine", async () => {
    await writeFile(join(home, "admin.token"), "t");
    expect(await here("leave")).toMatchObject({ code: 1, stderr: expect.stringContaining("studio runs the coordinator") as string });
    expect(await here("leave", "--force")).toMatchObject({ code: 1 });
  });
});

// The stub stands in for systemctl.
describe.skipIf(process.platform !== "linux")("with a service", () => {
  let stubs: ServiceManagers;
  beforeEach(() => {
    stubs = serviceManagers();
    env = { ...env, ...stubs.env };
  });
  afterEach(() => stubs.remove());
  const unit = (): string => join(home, "config", "systemd", "user", "openclaw-cluster.service");

  it("join --service hands the daemon to the service manager, and says what follows while it waits to be let in", async () => {
    await rm(join(home, "cluster.yaml"));
    api.coordinator.apiUrls = [api.url];
    const { code } = await api.coordinator.invite({ approve: false, ttlMs: 60_000 });
    const joined = await here("join", code, "--service", "--node-id", "nas2");
    expect(joined).toMatchObject({ code: 0, stdout: expect.stringContaining("begins to work when nas2 was let in; then: ") as string });
    expect(joined.stderr).toContain("On the coordinator: openclaw-cluster nodes approve nas2");
    expect(await readFile(unit(), "utf8")).toContain(`"--home" "${home}"`);
    expect(stubs.orders()).toContain("systemctl --user enable openclaw-cluster.service");
  });

  it("leave takes it away when it may, and asks first", async () => {
    expect((await here("service", "install")).code).toBe(0);
    expect(await here("leave")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("say --yes where nobody can be asked") as string,
    });
    expect(await readFile(join(home, "cluster.yaml"), "utf8")).toContain(api.url);

    const kept = await runCli(["leave"], { env, columns: 100, input: "n" });
    expect(kept).toMatchObject({ code: 0, stderr: expect.stringContaining("Take that away, too? [y/N]") as string });
    expect(existsSync(unit())).toBe(true);

    await settings(NODE);
    expect(await here("leave", "--yes")).toMatchObject({ code: 0, stdout: expect.stringContaining("its service is gone") as string });
    expect(existsSync(unit())).toBe(false);
    expect(stubs.orders()).toContain("systemctl --user disable --now openclaw-cluster.service");
  });

  it("leave leaves a service of another folder alone", async () => {
    expect((await here("service", "install", "--home", join(home, "other"))).code).toBe(0);
    expect((await here("leave")).code).toBe(0);
    expect(existsSync(unit())).toBe(true);
  });
});
