/**
 * The executor for commands: argv, never a shell string; a folder and a short environment of its own; output streamed
 * with back-pressure; and when it ends, however it ends, nothing that it started is left (process-tree.ts).
 *
 * D1. Nothing is started before the node's policy allowed the real file and the real folder. On Linux it starts in that
 *     very folder (open-place.ts), though another command should have put a link in its place meanwhile.
 * D2. The environment is built from a list of names; what the daemon itself holds, its secrets too, is not passed on.
 * D3. It is held to the limits of policy and task from its first instruction on (launch.ts), and a sandbox that the policy
 *     requires is around it or nothing is started.
 * D4. Memory does not grow with what a program prints: one pipe's buffer and a tail are kept of each stream.
 */
import { closeSync } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { LimitName } from "@openclaw-cluster/contract/command-limits";
import type { ErrorCode } from "@openclaw-cluster/contract/errors";
import type { Json } from "@openclaw-cluster/contract/json";
import type { Outcome } from "@openclaw-cluster/contract/wire";
import { breachText, type Bounds } from "../core/bounds.ts";
import { boxFor, decide, type Found, type PolicySource } from "../core/policy.ts";
import type { CommandGuard } from "./command-guard.ts";
import type { Confinement, Hold } from "./confinement.ts";
import { refusedByPolicy, STOP_MS, type Execution, type Executor } from "./executors.ts";
import { startProgram, wasNotStarted, type Child, type Launch } from "./launch.ts";
import { openPlace } from "./open-place.ts";
import { Capture, pump } from "./printed.ts";
import { endMarked, endTree, type Tree } from "./process-tree.ts";
import { findProgram, type Program } from "./program.ts";
import type { PlainCommand } from "./secrets.ts";

type Spec = PlainCommand;
/** What is to be started, and within what. */
interface Plan {
  readonly launch: Omit<Launch, "doors" | "processes">;
  readonly bounds: Bounds;
  /** Of the descriptors that the start needs. */
  close(): void;
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
/** How a shell tells that SIGXFSZ ended its program, and a sandbox too. */
const FILE_TOO_LARGE = 128 + 25;
const MARKER = "OPENCLAW_CLUSTER_FOLDER";
const SEARCH_PATH_DEFAULT = "/usr/local/bin:/usr/bin:/bin";
/** Without these a program on Windows does not start, or finds no system folder. */
const WINDOWS_NAMES = ["SystemRoot", "SystemDrive", "windir", "ComSpec", "PATHEXT", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE"];

export interface CommandParts {
  readonly policy: PolicySource;
  /** The environment of which PATH and LANG are passed on; the daemon's own. */
  readonly inherited: NodeJS.ProcessEnv;
  readonly confinement: Confinement;
  /** Ends the programs when the daemon dies without having done so. */
  readonly guard?: CommandGuard;
}

export function commandExecutor(parts: CommandParts): Executor<"command"> {
  return {
    kind: "command",
    resumable: false,
    async run(spec: Spec, execution) {
      const plan = await prepare(parts, spec, execution);
      if ("kind" in plan) return plan;
      if (execution.signal.aborted) {
        plan.close();
        return { kind: "cancelled" };
      }
      parts.guard?.watch(execution.log);
      return carryOut(plan, parts.confinement, execution);
    },
    async sweep(folder, log) {
      const marked = await endMarked(`${MARKER}=${folder}${path.sep}`);
      // A node that runs no commands makes no control groups, not even to look into them.
      const grouped = parts.policy.current().allow.commands.length > 0 ? await parts.confinement.sweep() : [];
      const left = [...marked, ...grouped];
      if (left.length > 0) log.error({ pids: left }, "processes of an earlier life of this worker cannot be ended");
    },
  };
}

async function prepare(parts: CommandParts, spec: Spec, execution: Execution): Promise<Plan | Outcome> {
  const { policy, inherited, guard } = parts;
  const { input } = spec;
  const given = [...input.argv, input.cwd ?? "", ...Object.values(input.env ?? {})];
  if (given.some((text) => text.includes("\0"))) return failed("bad_request", "An argument holds a NUL character.");
  const first = decide(policy.current(), spec);
  if (!first.allow) return refusedByPolicy(first.reason);
  const environment = { ...environmentOf(inherited, spec, execution), ...guard?.mark };
  const name = input.argv[0] as string;
  const program = await findProgram(name, environment["PATH"] ?? "");
  if (program === undefined) return failed("spawn_failed", `There is no program ${name} on this node.`, { code: "ENOENT" });
  const cwd = input.cwd === undefined ? execution.folder : await realFolder(input.cwd);
  if (cwd === undefined) return failed("spawn_failed", `There is no folder ${input.cwd} on this node.`, { code: "ENOENT" });
  const found: Found = { files: [program.file, program.real], ...(input.cwd !== undefined && { cwd }) };
  const second = decide(policy.current(), spec, found);
  if (!second.allow) return refusedByPolicy(second.reason);
  const bounds = parts.confinement.bounds(policy.current().limits, input.limits);
  const { nice, openFiles, fileMiB } = bounds;
  const limits = { nice, openFiles: openFiles.value, fileMiB: fileMiB.value };
  const way = await boxIn(parts, { spec, found, program, cwd }, execution);
  if ("kind" in way) return way;
  const { close, ...rest } = way;
  return { bounds, close, launch: { file: program.file, argv: input.argv, environment, stdin: input.stdin, ...rest, ...limits } };
}

interface Prepared {
  readonly spec: Spec;
  readonly found: Found;
  readonly program: Program;
  readonly cwd: string;
}

/** Where the program starts, and what stands before it. */
interface Way extends Pick<Launch, "cwd" | "before" | "descriptors"> {
  close(): void;
}

/** In a sandbox, or not. */
async function boxIn(
  { policy, confinement }: CommandParts,
  { spec, found, program, cwd }: Prepared,
  execution: Execution,
): Promise<Way | Outcome> {
  const { mode, ...box } = boxFor(policy.current(), spec.input, found);
  if (mode === "none") return openly(cwd, execution);
  const boxed = await confinement.boxed({ folder: execution.folder, cwd, program, ...box });
  switch (boxed.kind) {
    case "boxed": {
      const { before, descriptors, close } = boxed;
      return { cwd: execution.folder, before, descriptors, close };
    }
    case "unsafe":
      return refusedByPolicy(boxed.reason);
    case "missing":
      if (mode === "required") {
        const message = `This node's policy runs ${spec.input.argv[0]} in a sandbox only, and there is none: ${boxed.reason}.`;
        return { kind: "refused", error: { code: "sandbox_unavailable", message } };
      }
      await execution.output("note", `This node has no sandbox (${boxed.reason}), so the command runs without one.\n`);
      return openly(cwd, execution);
  }
}

function openly(cwd: string, { folder }: Execution): Way | Outcome {
  const way = { cwd, before: [], descriptors: [], close: () => undefined };
  if (process.platform !== "linux" || cwd === folder) return way;
  const opened = openPlace(cwd);
  if (opened.kind !== "open") return failed("spawn_failed", `There is no folder ${cwd} on this node any more.`, { code: "ENOENT" });
  // The child goes there before it becomes a program, while it still has all descriptors.
  return { ...way, cwd: `/proc/self/fd/${opened.descriptor}`, close: () => closeSync(opened.descriptor) };
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
    PATH: inherited["PATH"] ?? SEARCH_PATH_DEFAULT,
    LANG: inherited["LANG"] ?? "C.UTF-8",
    ...spec.input.env,
    ...windows,
    HOME: folder,
    TMPDIR: folder,
    OPENCLAW_CLUSTER_TASK: offer.task,
    OPENCLAW_CLUSTER_ATTEMPT: String(offer.attempt),
    OPENCLAW_CLUSTER_NODE: execution.node,
    [MARKER]: folder,
  };
}

async function carryOut(plan: Plan, confinement: Confinement, execution: Execution): Promise<Outcome> {
  const hold = confinement.hold(path.basename(execution.folder), plan.bounds);
  const child = hold instanceof Error ? hold : await begin(plan, hold);
  plan.close();
  const { launch, bounds } = plan;
  if (hold instanceof Error) return failed("spawn_failed", `A control group for ${launch.argv[0]} could not be made: ${hold.message}`);
  if (child instanceof Error) {
    hold.release();
    return failed("spawn_failed", `${launch.argv[0]} could not be started.`, { code: (child as NodeJS.ErrnoException).code ?? "" });
  }
  const marker = `${MARKER}=${execution.folder}`;
  const tree: Tree = { pid: child.pid as number, marker, group: hold.group, boxed: launch.before.length > 0 };
  hold.watch(tree);
  try {
    return await seeThrough({ child, tree, hold, launch, bounds }, execution);
  } finally {
    hold.release();
  }
}

function begin({ launch }: Plan, { group, processes }: Hold): Promise<Child | Error> {
  return startProgram({ ...launch, doors: group?.doors ?? [], ...(group === undefined && { processes }) });
}

interface Course {
  readonly child: Child;
  readonly tree: Tree;
  readonly hold: Hold;
  readonly launch: Pick<Launch, "argv">;
  readonly bounds: Bounds;
}

/** To its end, whatever that is. */
async function seeThrough({ child, tree, hold, launch, bounds }: Course, execution: Execution): Promise<Outcome> {
  const { signal, log } = execution;
  const stdout = new Capture(STDOUT_TAIL_BYTES);
  const stderr = new Capture(STDERR_TAIL_BYTES);
  const printed = Promise.all([pump(child.stdout, "stdout", stdout, execution), pump(child.stderr, "stderr", stderr, execution)]);

  const aborted = Promise.withResolvers<"aborted">();
  const onAbort = (): void => aborted.resolve("aborted");
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  const exit = await Promise.race([exitOf(child), aborted.promise]);
  signal.removeEventListener("abort", onAbort);

  // Nobody is in its group any more: the kernel knows it, and no look at every process of the machine is needed.
  const isGone = exit !== "aborted" && tree.group?.pids().length === 0;
  const left = isGone ? [] : await endTree(tree, exit === "aborted" ? STOP_MS : 0);
  if (left.length > 0) log.error({ task: execution.offer.task, pids: left }, "processes of a command cannot be ended");
  // Whoever held the pipes is gone, so they end after what is still in them. Whatever is left after that is dropped.
  await Promise.race([printed, pause(exit === "aborted" ? DRAIN_ABORTED_MS : DRAIN_MS, undefined, { ref: false })]);
  child.stdout.destroy();
  child.stderr.destroy();
  if (exit === "aborted") return { kind: "cancelled" };

  const facts = { exitCode: exit.code, signal: exit.signal, outputBytes: stdout.bytes + stderr.bytes };
  const tail = stdout.tail();
  if (exit.code === 0) return { kind: "succeeded", result: { ...facts, ...(tail !== "" && { stdoutTail: tail }) } };
  const program = launch.argv[0] as string;
  const data = { ...facts, ...(tail !== "" && { stdoutTail: tail }), ...(stderr.bytes > 0 && { stderrTail: stderr.tail() }) };
  if (wasNotStarted(exit.code, stderr.tail())) return failed("spawn_failed", `${program} could not be started.`, data);
  const limit = breachOf(exit, hold);
  if (limit !== undefined)
    return failed("limit_reached", breachText(program, limit, bounds, execution.node), { limit, value: bounds[limit].value, ...data });
  const how = exit.code === null ? `was ended by ${exit.signal}` : `ended with exit code ${exit.code}`;
  return failed("command_failed", `${program} ${how}.`, data);
}

/** The limit that a program which failed has come up against, if the kernel says that there was one. */
function breachOf(exit: Exit, hold: Hold): LimitName | undefined {
  if (exit.signal === "SIGXFSZ" || exit.code === FILE_TOO_LARGE) return "fileMiB";
  return hold.breach();
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
