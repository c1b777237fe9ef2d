/**
 * The executor for commands: argv, never a shell string; a folder and a short environment of its own; output streamed
 * with back-pressure; and when it ends, however it ends, nothing that it started is left (process-tree.ts).
 *
 * D1. Nothing is started before the node's policy allowed the real file and the real folder.
 * D2. The environment is built from a list of names; what the daemon itself holds, its secrets too, is not passed on.
 * D3. Memory does not grow with what a program prints: one pipe's buffer and a tail are kept of each stream.
 */
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { realpath, stat } from "node:fs/promises";
import path from "node:path";
import type { Readable, Writable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import type { ErrorCode } from "@openclaw-cluster/contract/errors";
import type { Json } from "@openclaw-cluster/contract/json";
import type { Outcome } from "@openclaw-cluster/contract/wire";
import { decide, type PolicySource } from "../core/policy.ts";
import type { CommandGuard } from "./command-guard.ts";
import { STOP_MS, type Execution, type Executor } from "./executors.ts";
import { Capture, pump } from "./printed.ts";
import { endMarked, endTree, type Tree } from "./process-tree.ts";
import { findProgram } from "./program.ts";
import type { PlainCommand } from "./secrets.ts";

type Spec = PlainCommand;
type Child = ChildProcessByStdio<Writable | null, Readable, Readable>;

interface Launch {
  readonly file: string;
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
}

interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** After a program's own end its last output may wait this long for a slow bus; after an abort nobody waits for it. */
const DRAIN_MS = 30_000;
const DRAIN_ABORTED_MS = 500;
/** Kept of stdout for the result, so that a short answer needs no look at the log; and of stderr for the error. */
const STDOUT_TAIL_BYTES = 8 * 1024;
const STDERR_TAIL_BYTES = 2 * 1024;
const MARKER = "OPENCLAW_CLUSTER_FOLDER";
const SEARCH_PATH_DEFAULT = "/usr/local/bin:/usr/bin:/bin";
/** Without these a program on Windows does not start, or finds no system folder. */
const WINDOWS_NAMES = ["SystemRoot", "SystemDrive", "windir", "ComSpec", "PATHEXT", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE"];

export interface CommandParts {
  readonly policy: PolicySource;
  /** The environment of which PATH and LANG are passed on; the daemon's own. */
  readonly inherited: NodeJS.ProcessEnv;
  /** Ends the programs when the daemon dies without having done so. */
  readonly guard?: CommandGuard;
}

export function commandExecutor(parts: CommandParts): Executor<"command"> {
  return {
    kind: "command",
    resumable: false,
    async run(spec: Spec, execution) {
      const launch = await prepare(parts, spec, execution);
      if ("kind" in launch) return launch;
      if (execution.signal.aborted) return { kind: "cancelled" };
      parts.guard?.watch(execution.log);
      return carryOut(launch, spec, execution);
    },
    async sweep(folder, log) {
      const left = await endMarked(`${MARKER}=${folder}${path.sep}`);
      if (left.length > 0) log.error({ pids: left }, "processes of an earlier life of this worker cannot be ended");
    },
  };
}

async function prepare({ policy, inherited, guard }: CommandParts, spec: Spec, execution: Execution): Promise<Launch | Outcome> {
  const { input } = spec;
  const given = [...input.argv, input.cwd ?? "", ...Object.values(input.env ?? {})];
  if (given.some((text) => text.includes("\0"))) return failed("bad_request", "An argument holds a NUL character.");
  const first = decide(policy.current(), spec);
  if (!first.allow) return refused(first.reason);
  const environment = { ...environmentOf(inherited, spec, execution), ...guard?.mark };
  const name = input.argv[0] as string;
  const program = await findProgram(name, environment["PATH"] ?? "");
  if (program === undefined) return failed("spawn_failed", `There is no program ${name} on this node.`, { code: "ENOENT" });
  const cwd = input.cwd === undefined ? execution.folder : await realFolder(input.cwd);
  if (cwd === undefined) return failed("spawn_failed", `There is no folder ${input.cwd} on this node.`, { code: "ENOENT" });
  const second = decide(policy.current(), spec, { files: [program.file, program.real], ...(input.cwd !== undefined && { cwd }) });
  if (!second.allow) return refused(second.reason);
  return { file: program.file, argv: input.argv, cwd, environment };
}

function environmentOf(inherited: NodeJS.ProcessEnv, spec: Spec, execution: Execution): Record<string, string> {
  const { folder, offer } = execution;
  const windows = process.platform === "win32" ? { USERPROFILE: folder, TEMP: folder, TMP: folder } : {};
  const passed =
    process.platform === "win32"
      ? WINDOWS_NAMES.flatMap((name) => (inherited[name] === undefined ? [] : [[name, inherited[name]] as const]))
      : [];
  return {
    ...Object.fromEntries(passed),
    ...windows,
    PATH: inherited["PATH"] ?? SEARCH_PATH_DEFAULT,
    HOME: folder,
    TMPDIR: folder,
    LANG: inherited["LANG"] ?? "C.UTF-8",
    ...spec.input.env,
    OPENCLAW_CLUSTER_TASK: offer.task,
    OPENCLAW_CLUSTER_ATTEMPT: String(offer.attempt),
    OPENCLAW_CLUSTER_NODE: execution.node,
    [MARKER]: folder,
  };
}

async function carryOut(launch: Launch, spec: Spec, execution: Execution): Promise<Outcome> {
  const { signal, log } = execution;
  const child = await start(launch, spec.input.stdin);
  if (child instanceof Error)
    return failed("spawn_failed", `${launch.argv[0]} could not be started.`, { code: (child as NodeJS.ErrnoException).code ?? "" });
  const tree: Tree = { pid: child.pid as number, marker: `${MARKER}=${execution.folder}` };
  const stdout = new Capture(STDOUT_TAIL_BYTES);
  const stderr = new Capture(STDERR_TAIL_BYTES);
  const printed = Promise.all([pump(child.stdout, "stdout", stdout, execution), pump(child.stderr, "stderr", stderr, execution)]);

  const aborted = Promise.withResolvers<"aborted">();
  const onAbort = (): void => aborted.resolve("aborted");
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  const exit = await Promise.race([exitOf(child), aborted.promise]);
  signal.removeEventListener("abort", onAbort);

  const left = await endTree(tree, exit === "aborted" ? STOP_MS : 0);
  if (left.length > 0) log.error({ task: execution.offer.task, pids: left }, "processes of a command cannot be ended");
  // Whoever held the pipes is gone, so they end after what is still in them. Whatever is left after that is dropped.
  await Promise.race([printed, pause(exit === "aborted" ? DRAIN_ABORTED_MS : DRAIN_MS, undefined, { ref: false })]);
  child.stdout.destroy();
  child.stderr.destroy();
  if (exit === "aborted") return { kind: "cancelled" };

  const facts = { exitCode: exit.code, signal: exit.signal, outputBytes: stdout.bytes + stderr.bytes };
  const tail = stdout.tail();
  if (exit.code === 0) return { kind: "succeeded", result: { ...facts, ...(tail !== "" && { stdoutTail: tail }) } };
  const how = exit.code === null ? `was ended by ${exit.signal}` : `ended with exit code ${exit.code}`;
  return failed("command_failed", `${launch.argv[0]} ${how}.`, {
    ...facts,
    ...(tail !== "" && { stdoutTail: tail }),
    ...(stderr.bytes > 0 && { stderrTail: stderr.tail() }),
  });
}

/** The running child, or why there is none. */
function start(launch: Launch, stdin: string | undefined): Promise<Child | Error> {
  const [argv0, ...args] = launch.argv;
  return new Promise((resolve) => {
    let child: Child;
    try {
      child = spawn(launch.file, args, {
        argv0,
        cwd: launch.cwd,
        env: launch.environment,
        // A session of its own, so that the whole of it can be signalled and found.
        detached: process.platform !== "win32",
        windowsHide: true,
        stdio: [stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      }) as Child;
    } catch (error) {
      return resolve(error as Error);
    }
    child.once("spawn", () => resolve(child));
    child.on("error", resolve);
    // EPIPE: the program ended, or closed its stdin, before it had read all. That is its own affair.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(stdin);
  });
}

/** `exit`, not `close`: a grandchild can hold the pipes open for ever. */
function exitOf(child: Child): Promise<Exit> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve({ code: child.exitCode, signal: child.signalCode });
  return new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
}

async function realFolder(folder: string): Promise<string | undefined> {
  try {
    const real = await realpath(folder);
    return (await stat(real)).isDirectory() ? real : undefined;
  } catch {
    // Missing, closed to this user, or a loop of links: there is no folder to run in.
    return undefined;
  }
}

function failed(code: ErrorCode, message: string, data: Record<string, Json> = {}): Outcome {
  return { kind: "failed", error: { code, message, data } };
}

function refused(reason: string): Outcome {
  return { kind: "refused", error: { code: "policy_denied", message: `This node's policy: ${reason}.` } };
}
