/**
 * `node scripts/launch.mjs scripts/bench-commands.ts`: what it costs to start and end a program that does nothing, in turns:
 * by Node alone, and by the executor of commands held by control groups, by looks, and in a sandbox. Medians of all rounds.
 */
import { spawn } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { openCommandGround, type CommandGround } from "../tests/support/command-run.ts";

const ROUNDS = 5;
const RUNS = 20;

interface Way {
  readonly name: string;
  run(): Promise<unknown>;
  close(): void;
}

function executor(name: string, ground: CommandGround): Way {
  return {
    name,
    async run() {
      const outcome = await ground.run("", { argv: ["true"] }).outcome;
      if (outcome.kind !== "succeeded") throw new Error(`${name}: ${JSON.stringify(outcome)}`);
    },
    close: () => ground.close(),
  };
}

function byNode(): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn("true", [], { detached: true, stdio: ["ignore", "pipe", "pipe"] });
    child.once("error", reject);
    child.once("exit", () => resolve());
  });
}

const looks = { findGroups: () => ({ kind: "none", reason: "looks are measured" }) as const };
const grouped = openCommandGround();
const sandboxed = openCommandGround({ sandbox: "required" });
const ways: Way[] = [{ name: "node alone", run: byNode, close: () => undefined }, executor("looks", openCommandGround({}, looks))];
if (grouped.confinement.ours().places.length > 0) ways.push(executor("control groups", grouped));
const box = await sandboxed.confinement.boxed({
  folder: sandboxed.folder,
  cwd: sandboxed.folder,
  program: { file: "/bin/sh", real: "/bin/sh" },
  network: false,
  folders: [],
  reads: [],
  writable: [],
});
if (box.kind === "boxed") {
  box.close();
  ways.push(executor("sandbox", sandboxed));
} else process.stderr.write(`there is no sandbox here: ${box.reason}\n`);

const figures = new Map(ways.map(({ name }) => [name, { wallMs: [] as number[], cpuMs: [] as number[] }]));
for (const { run } of ways) await run();
for (let round = 0; round < ROUNDS; round++) {
  for (const { name, run } of ways) {
    const figure = figures.get(name);
    const before = process.cpuUsage();
    for (let n = 0; n < RUNS; n++) {
      const from = performance.now();
      await run();
      figure?.wallMs.push(performance.now() - from);
    }
    const { user, system } = process.cpuUsage(before);
    figure?.cpuMs.push((user + system) / 1_000 / RUNS);
  }
}
const median = (all: number[]): string => (all.toSorted((a, b) => a - b)[all.length >> 1] ?? Number.NaN).toFixed(1);
for (const [name, { wallMs, cpuMs }] of figures)
  process.stdout.write(`${name.padEnd(15)} ${median(wallMs)} ms, of this process's processor ${median(cpuMs)} ms\n`);
// Groups are removed a moment after their last process.
await pause(500);
for (const way of ways) way.close();
