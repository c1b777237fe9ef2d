/** The three service managers, with stubs of their programs on PATH: what is written, what is called, and what is said when it fails. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { serviceManagers, type ServiceManagers } from "../../../../tests/support/service-managers.ts";
import { claimHome } from "../../system/home-claim.ts";
import { launchdService } from "./launchd.ts";
import { planService } from "./plan.ts";
import type { Service, ServiceGround } from "./service.ts";
import { systemdService } from "./systemd.ts";
import { taskSchedulerService } from "./task-scheduler.ts";

let stubs: ServiceManagers;
beforeEach(() => {
  stubs = serviceManagers();
});
afterEach(() => stubs.remove());

interface Given {
  readonly home?: string;
  readonly name?: string;
  readonly user?: string;
  readonly env?: Readonly<Record<string, string>>;
}

function ground({ home = "a home", name = "openclaw-cluster", user, env = {} }: Given = {}): ServiceGround {
  const place = path.join(stubs.folder, home);
  const plan = planService({
    name,
    node: "/opt/node",
    program: "/opt/p.mjs",
    home: place,
    env: stubs.env,
    ...(user !== undefined && { user }),
  });
  return { plan, env: { ...stubs.env, ...env }, userHome: stubs.folder, uid: 501, userName: "ann" };
}

/** Whatever else the manager does, for each of them alike. */
const managers: readonly (readonly [name: string, open: (given?: Given) => Service, encoding: BufferEncoding])[] = [
  ["systemd", (given) => systemdService(ground(given)), "utf8"],
  ["launchd", (given) => launchdService(ground(given)), "utf8"],
  ["the Task Scheduler", (given) => taskSchedulerService(ground(given)), "utf16le"],
];

// The stubs are shell scripts.
describe.skipIf(process.platform === "win32").each(managers)("each of them, %s", (manager, open, encoding) => {
  const fileText = (file: string): string => readFileSync(file, encoding).replace("\uFEFF", "");
  /** Stands in for the daemon that the scheduler would have started. */
  const startDaemon = (given: Given = {}): { release(): void } => {
    const data = path.join(ground(given).plan.home, "data");
    mkdirSync(data, { recursive: true });
    return manager === "the Task Scheduler" ? claimHome(data, data) : { release: () => undefined };
  };

  it("is installed, found, left alone the second time (V1), and taken away", async () => {
    const service = open();
    expect(await service.status()).toMatchObject({ installed: false });
    expect(await service.install()).toMatchObject({ changed: true });
    const daemon = startDaemon();
    expect(fileText(service.file)).toBe(service.text);
    expect(statSync(service.file).mode & 0o777).toBe(0o644);
    expect(await service.status()).toMatchObject({ installed: true, state: "running", current: true });

    const orders = stubs.orders();
    expect(orders.length).toBeGreaterThan(0);
    expect(await open().install()).toMatchObject({ changed: false });
    expect(stubs.orders()).toEqual(orders);

    daemon.release();
    expect(await service.uninstall()).toEqual({ removed: true });
    expect(() => statSync(service.file)).toThrow("ENOENT");
    expect(await service.status()).toMatchObject({ installed: false, state: "stopped" });
    expect(await service.uninstall()).toEqual({ removed: false });
  });

  it("a unit that says something else is written anew and counts at once", async () => {
    const service = open();
    await service.install();
    writeFileSync(
      service.file,
      encoding === "utf8"
        ? fileText(service.file).replace("/opt/node", "/opt/old")
        : Buffer.from(`\uFEFF${fileText(service.file).replace("/opt/node", "/opt/old")}`, "utf16le"),
    );
    expect(await service.status()).toMatchObject({ installed: true, current: false });
    expect(await service.install()).toMatchObject({ changed: true });
    expect(fileText(service.file)).toBe(service.text);
    expect(await service.status()).toMatchObject({ current: true });
  });

  it("another home's unit of the same name is neither replaced nor removed (V2)", async () => {
    await open().install();
    const orders = stubs.orders();
    const other = open({ home: "another" });
    for (const act of [other.install, other.uninstall, other.status])
      await expect(act()).rejects.toMatchObject({ code: "state_conflict", detail: expect.stringContaining("--name") as string });
    expect(stubs.orders()).toEqual(orders);
    const named = open({ home: "another", name: "openclaw-second" });
    expect(named.file).not.toBe(other.file);
    expect(await named.status()).toMatchObject({ installed: false });
  });

  it("where its program is not there, it says what to do", async () => {
    const service = open({ env: { PATH: "/nonexistent" } });
    await expect(service.install()).rejects.toMatchObject({
      code: "service_failed",
      detail: expect.stringMatching(/^there is no \w+ here\. .+/) as string,
    });
    expect(() => statSync(service.file)).toThrow("ENOENT");
  });
});

describe.skipIf(process.platform === "win32")("systemd", () => {
  const open = (given?: Given): Service => systemdService(ground(given));

  it("is told of the unit, and says how to outlast the session", async () => {
    const service = open();
    expect(service.file).toBe(path.join(stubs.folder, ".config/systemd/user/openclaw-cluster.service"));
    expect(await service.install()).toEqual({ changed: true, notes: [expect.stringContaining("loginctl enable-linger ann")] });
    const unit = "openclaw-cluster.service";
    expect(stubs.orders()).toEqual([
      "systemctl --user daemon-reload",
      `systemctl --user enable ${unit}`,
      `systemctl --user restart ${unit}`,
    ]);
    stubs.set("linger", "yes");
    expect(await service.install()).toEqual({ changed: false, notes: [] });
    expect(await service.status()).toMatchObject({ pid: 4242, notes: [] });
    await service.uninstall();
    expect(stubs.orders().slice(3)).toEqual([
      `systemctl --user disable --now ${unit}`,
      "systemctl --user daemon-reload",
      `systemctl --user reset-failed ${unit}`,
    ]);
  });

  it("is started again where it stands still, though its unit is right", async () => {
    await open().install();
    stubs.set("active", "failed");
    stubs.set("code", "2");
    expect(await open().status()).toMatchObject({
      state: "failed",
      exitCode: 2,
      notes: [expect.stringContaining("journalctl --user -u openclaw-cluster.service")],
    });
    expect(await open().install()).toMatchObject({ changed: true });
    expect(stubs.orders().at(-1)).toContain("restart");
  });

  it("tells a unit that waits for its next try, and one that does not start by itself", async () => {
    await open().install();
    stubs.set("active", "activating");
    stubs.set("sub", "auto-restart");
    stubs.set("enabled", "disabled");
    expect(await open().status()).toMatchObject({
      state: "restarting",
      notes: expect.arrayContaining([expect.stringContaining("does not start by itself")]),
    });
  });

  it("that does not run is told before anything is written", async () => {
    stubs.set("dead", "Failed to connect to bus: No medium found\n");
    const service = open();
    await expect(service.install()).rejects.toMatchObject({
      code: "service_failed",
      detail: expect.stringMatching(/Failed to connect to bus: No medium found\. Log in as this user .* --system/) as string,
    });
    expect(() => statSync(service.file)).toThrow("ENOENT");
    expect(await service.status()).toMatchObject({
      installed: false,
      state: "unknown",
      notes: [expect.stringContaining("No medium found")],
    });
  });

  it("takes a unit of the machine, which runs as a user", async () => {
    const folder = path.join(stubs.folder, "etc");
    const service = systemdService(ground({ user: "ann" }), folder);
    expect(await service.install()).toEqual({ changed: true, notes: [] });
    expect(readFileSync(path.join(folder, "openclaw-cluster.service"), "utf8")).toContain("\nUser=ann\n");
    expect(stubs.orders()).toContain("systemctl enable openclaw-cluster.service");
    expect(stubs.orders().join("\n")).not.toContain("--user");
  });

  it("says why a unit cannot be written", async () => {
    writeFileSync(path.join(stubs.folder, "x"), "");
    const service = systemdService(ground({ user: "ann" }), path.join(stubs.folder, "x", "y"));
    await expect(service.install()).rejects.toMatchObject({
      code: "service_failed",
      detail: expect.stringContaining("cannot be written") as string,
    });
  });

  it.skipIf(process.getuid?.() === 0)("says how root does it, where only root may", async () => {
    const folder = path.join(stubs.folder, "etc");
    mkdirSync(folder, { mode: 0o555 });
    const service = systemdService(ground({ user: "ann", home: "it's a home" }), folder);
    await expect(service.install()).rejects.toMatchObject({
      detail: expect.stringMatching(/Run: sudo .* --home '.*it'\\''s a home'$/) as string,
    });
  });
});

describe.skipIf(process.platform === "win32")("launchd", () => {
  const open = (): Service => launchdService(ground());

  it("is told of the agent; a changed one goes in when the old one has ended", async () => {
    const service = open();
    expect(service.file).toBe(path.join(stubs.folder, "Library/LaunchAgents/ai.openclaw.cluster.plist"));
    await service.install();
    const target = "gui/501/ai.openclaw.cluster";
    const taken = [`launchctl enable ${target}`, `launchctl bootstrap gui/501 ${service.file}`];
    expect(stubs.orders()).toEqual(taken);
    expect(statSync(path.join(ground().plan.home, "logs")).isDirectory()).toBe(true);
    writeFileSync(service.file, service.text.replace("/opt/node", "/opt/old"));
    await service.install();
    expect(stubs.orders().slice(2)).toEqual([`launchctl bootout ${target}`, ...taken]);
  });

  it("tells one that ends again and again, and where its words are", async () => {
    const service = open();
    await service.install();
    stubs.set("active", "spawn scheduled");
    stubs.set("code", "2");
    expect(await service.status()).toMatchObject({ state: "restarting", exitCode: 2, notes: [expect.stringContaining("launchd.log")] });
  });

  it("that refuses is quoted, with the next step", async () => {
    stubs.set("dead", "Bootstrap failed: 125: Domain does not support specified action\n");
    await expect(open().install()).rejects.toMatchObject({
      code: "service_failed",
      detail: expect.stringMatching(/125: Domain .* Log in at the machine's screen/) as string,
    });
  });
});

describe.skipIf(process.platform === "win32")("the Task Scheduler", () => {
  it("is given the task in UTF-16, and starts it unless a daemon runs", async () => {
    const service = taskSchedulerService(ground({ env: { USERDOMAIN: "PC", LOCALAPPDATA: path.join(stubs.folder, "local") } }));
    expect(await service.install()).toEqual({ changed: true, notes: [expect.stringContaining("setx")] });
    expect(service.text).toContain("<UserId>PC\\ann</UserId>");
    expect([...readFileSync(service.file).subarray(0, 4)]).toEqual([0xff, 0xfe, 0x3c, 0]);
    expect(stubs.orders()).toEqual([`schtasks /Create /TN openclaw-cluster /XML ${service.file} /F`, "schtasks /Run /TN openclaw-cluster"]);
    const data = path.join(ground().plan.home, "data");
    const daemon = claimHome(data, data);
    stubs.set("tasks");
    expect(await service.install()).toMatchObject({
      changed: true,
      notes: expect.arrayContaining([expect.stringContaining("from the next logon")]),
    });
    expect(stubs.orders().slice(2)).toEqual([expect.stringContaining("/Create")]);
    daemon.release();
  });

  it("that refuses is quoted", async () => {
    stubs.set("dead", "ERROR: Access is denied.\n");
    await expect(taskSchedulerService(ground()).install()).rejects.toMatchObject({
      code: "service_failed",
      detail: expect.stringContaining("Access is denied") as string,
    });
  });
});
