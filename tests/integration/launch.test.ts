/** The first step of every npm script, with real processes and an npm that only pretends (L1–L3, N1, N2). */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LaunchGround, type Launched } from "../support/launch-ground.ts";
import { endLeakedProcesses, processesOf } from "../support/leaked-processes.ts";

vi.setConfig({ testTimeout: 30_000 });

let ground: LaunchGround;
let launched: Launched[];
beforeEach(() => {
  ground = new LaunchGround();
  launched = [];
});
afterEach(async () => {
  ground.remove("hold");
  for (const { child } of launched) child.kill("SIGKILL");
  await endLeakedProcesses(basename(ground.folder), 0);
  for (const { ended } of launched) await ended;
  ground.remove();
});

function launch(...args: Parameters<LaunchGround["launch"]>): Launched {
  const one = ground.launch(...args);
  launched.push(one);
  return one;
}
const until = (condition: () => boolean): Promise<void> =>
  vi.waitFor(() => expect(condition()).toBe(true), { timeout: 15_000, interval: 20 });
const report = ({ stdout }: Launched): { args: string[]; node: string; pid: number } => JSON.parse(stdout().split("\n")[0] ?? "");

describe("installing", () => {
  it("happens once; arguments, output and exit code are the program's", async () => {
    const first = launch(["a", "--b"]);
    expect(await first.ended).toEqual({ code: 7, signal: null });
    expect(report(first).args).toEqual(["a", "--b"]);
    expect(first.stdout().trim().split("\n")).toHaveLength(1);
    expect(first.stderr()).toContain("added 1 package");
    expect(readFileSync(ground.at("calls"), "utf8")).toMatch(/^ci --ignore-scripts /);

    const second = launch();
    expect(await second.ended).toEqual({ code: 7, signal: null });
    expect(second.stderr()).toBe("");
    expect(ground.calls()).toBe(1);
  });

  it("happens again when the lock file has changed", async () => {
    await launch().ended;
    ground.lock("1.0.1");
    expect((await launch().ended).code).toBe(7);
    expect(ground.calls()).toBe(2);
  });

  it("happens again after it was interrupted, and leaves no npm behind", async () => {
    await launch().ended;
    ground.lock("1.0.1");
    ground.touch("hold");
    const interrupted = launch();
    await until(() => ground.calls() === 2);
    interrupted.child.kill("SIGTERM");
    expect(await interrupted.ended).toEqual({ code: null, signal: "SIGTERM" });
    expect(existsSync(ground.at(".cache/install/lock"))).toBe(false);
    expect(processesOf(basename(ground.folder))).toEqual([]);
    // The old lock file comes back: its stamp must not be believed, for npm had begun to take the packages away.
    ground.lock("1.0.0");
    ground.remove("hold");
    expect((await launch().ended).code).toBe(7);
    expect(ground.calls()).toBe(3);
  });

  it("is done by one launch while others wait for it", async () => {
    ground.touch("hold");
    const first = launch();
    await until(() => ground.calls() === 1);
    const others = [launch(), launch()];
    await until(() => others.every(({ stderr }) => stderr().includes("waiting for it")));
    ground.remove("hold");
    for (const one of [first, ...others]) expect((await one.ended).code).toBe(7);
    expect(ground.calls()).toBe(1);
  });

  it("goes on past the lock of a launcher that died", async () => {
    const dead = launch();
    await dead.ended;
    ground.remove("node_modules");
    mkdirSync(ground.at(".cache/install"), { recursive: true });
    writeFileSync(ground.at(".cache/install/lock"), String(dead.child.pid));
    expect((await launch().ended).code).toBe(7);
    expect(ground.calls()).toBe(2);
  });

  it("is not repeated where somebody ran npm by hand", async () => {
    await launch().ended;
    ground.remove("node_modules/.openclaw-cluster-stamp");
    expect((await launch().ended).code).toBe(7);
    expect(ground.calls()).toBe(1);
    ground.remove("node_modules/some-package");
    await launch().ended;
    expect(ground.calls()).toBe(2);
  });

  it("that fails says what helps and keeps npm's exit code", async () => {
    ground.touch("fail", "3");
    const failed = launch();
    expect(await failed.ended).toEqual({ code: 3, signal: null });
    expect(failed.stdout()).toBe("");
    expect(failed.stderr()).toMatch(/npm ci failed with exit code 3[\s\S]*npm ping/);
    expect(existsSync(ground.at("node_modules/.openclaw-cluster-stamp"))).toBe(false);
  });
});

describe("a Node in range", () => {
  it("runs the program itself", async () => {
    const one = launch();
    await one.ended;
    expect(report(one).pid).toBe(one.child.pid);
  });
});

// The packaged Node is stood in for by a link, which Windows keeps for administrators.
describe.skipIf(process.platform === "win32")("an older Node", () => {
  let old: string[];
  beforeEach(async () => {
    await launch().ended;
    old = ground.pretend({ version: "20.20.2", platform: "linux" });
    ground.bundleNode(`node-linux-${process.arch}`);
  });

  it("hands over to the packaged one, with arguments and exit code", async () => {
    const one = launch(["x"], old);
    expect(await one.ended).toEqual({ code: 7, signal: null });
    expect(report(one).args).toEqual(["x"]);
    expect(report(one).pid).not.toBe(one.child.pid);
  });

  it("passes a signal on and waits for the program's own end", async () => {
    const one = launch(["stay"], old);
    await until(() => one.stdout().includes("pid"));
    one.child.kill("SIGTERM");
    expect(await one.ended).toEqual({ code: 7, signal: null });
    expect(one.stdout()).toContain("SIGTERM");
  });

  it("ends by the signal that ended the program", async () => {
    const one = launch(["stay"], old);
    await until(() => one.stdout().includes("pid"));
    process.kill(report(one).pid, "SIGKILL");
    expect(await one.ended).toEqual({ code: null, signal: "SIGKILL" });
  });
});

describe("an older Node on a platform without a packaged one", () => {
  it("is told three commands that help", async () => {
    await launch().ended;
    const one = launch([], ground.pretend({ version: "20.20.2", platform: "sunos" }));
    expect(await one.ended).toEqual({ code: 2, signal: null });
    expect(one.stderr()).toMatch(/nvm install[\s\S]*brew install[\s\S]*winget install/);
  });
});
