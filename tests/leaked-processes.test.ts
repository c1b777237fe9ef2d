/** A test run must see what it leaves behind, whatever the leaked program did with its environment. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { endLeakedProcesses, processesOf } from "./support/leaked-processes.ts";

const FOREVER = "setInterval(() => {}, 1e6); console.log('up');";

// Only Linux has the /proc that this reads.
describe.runIf(process.platform === "linux")("leaked processes", () => {
  let folder: string;
  let runId: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "leak-"));
    runId = basename(folder);
  });
  afterEach(async () => {
    await endLeakedProcesses(runId, 0);
    rmSync(folder, { recursive: true });
  });

  it.each([
    ["its environment", { env: { MARK: "run" } }, []],
    ["its working folder", { env: {}, cwd: "run" }, []],
    ["its command line", { env: {} }, ["run"]],
  ] as const)("are known by %s, and ended", async (_how, { env, ...where }, args) => {
    const mark = (text: string): string => (text === "run" ? folder : text);
    const child = spawn(process.execPath, ["-e", FOREVER, "--", ...args.map(mark)], {
      detached: true,
      env: Object.fromEntries(Object.entries(env).map(([name, value]) => [name, mark(value)])),
      cwd: "cwd" in where ? folder : "/",
      stdio: ["ignore", "pipe", "ignore"],
    });
    await once(child.stdout, "data");
    const ended = once(child, "exit");
    const leaked = await endLeakedProcesses(runId, 0);
    expect(leaked.map(({ pid }) => pid)).toEqual([child.pid]);
    expect(leaked[0]?.command).toContain(process.execPath);
    expect(await ended).toEqual([null, "SIGKILL"]);
    expect(processesOf(runId)).toEqual([]);
  });

  it("are none where everything ended within the grace", async () => {
    const child = spawn(process.execPath, ["-e", FOREVER], { env: { MARK: folder }, stdio: ["ignore", "pipe", "ignore"] });
    await once(child.stdout, "data");
    expect(processesOf(runId)).toHaveLength(1);
    const none = endLeakedProcesses(runId, 10_000);
    child.kill("SIGTERM");
    expect(await none).toEqual([]);
  });
});
