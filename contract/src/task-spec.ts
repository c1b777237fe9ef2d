/**
 * What a person asks for: the body of a submit. Objects are strict, so that a misspelt field is an error and not a
 * silent default. Everything the cluster itself decides (state, attempt, node, times) is in task.ts.
 */
import { z } from "zod";
import { CommandLimits } from "./command-limits.ts";
import { Json } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { NodeId } from "./ids.ts";
import { ModelInput } from "./model-input.ts";

const Name = z.string().min(1).max(LIMITS.labelCharsMax);
const Names = z.array(Name).max(LIMITS.requireNamesMax);

/** `{ gpu: "yes", room: "office" }`; what a node is known for, or what a task is filed under. */
export const Labels = z
  .record(Name, z.string().max(LIMITS.labelCharsMax))
  .refine((labels) => Object.keys(labels).length <= LIMITS.labelsMax, `at most ${LIMITS.labelsMax} labels`);
export type Labels = z.infer<typeof Labels>;

export const Os = z.enum(["linux", "darwin", "win32"]);
export const Arch = z.enum(["x64", "arm64", "arm", "ia32"]);

/** Hard conditions: a node that misses one of them never gets the task. */
export const Require = z
  .strictObject({
    os: z.array(Os).min(1).optional(),
    arch: z.array(Arch).min(1).optional(),
    labels: Labels.optional(),
    skills: Names.optional(),
    models: Names.optional(),
    nodes: z.array(NodeId).min(1).max(LIMITS.requireNamesMax).optional(),
    /** Memory set aside on the node while the task runs. */
    memoryMiB: z.int().min(0).max(16_777_216).optional(),
    /** Slots the task takes; 1 unless said. */
    slots: z.int().min(1).max(1_024).optional(),
  })
  .meta({ id: "Require" });
export type Require = z.infer<typeof Require>;

/** Soft wishes, weighed by the scheduler (docs/scheduling.md). */
export const Prefer = z
  .strictObject({
    labels: z
      .array(z.strictObject({ name: Name, value: z.string().max(LIMITS.labelCharsMax), weight: z.int().min(-100).max(100) }))
      .max(LIMITS.labelsMax)
      .optional(),
    /** Tasks with the same key like to run where the last one ran. */
    sticky: Name.optional(),
    /** Tasks with the same key like to run on different nodes. */
    spread: Name.optional(),
  })
  .meta({ id: "Prefer" });
export type Prefer = z.infer<typeof Prefer>;

export const Strategy = z.enum(["balanced", "round_robin", "least_tasks", "best_fit", "random", "affinity"]);
export type Strategy = z.infer<typeof Strategy>;

const PRIORITY_NAMES = { critical: 9, high: 7, normal: 4, low: 2 } as const;
/** 0–9, 9 first; or critical, high, normal, low for 9, 7, 4, 2. */
export const Priority = z.union([z.int().min(0).max(9), z.enum(["critical", "high", "normal", "low"])]);
export type Priority = z.infer<typeof Priority>;

export function priorityNumber(priority: Priority | undefined): number {
  if (priority === undefined) return PRIORITY_NAMES.normal;
  return typeof priority === "number" ? priority : PRIORITY_NAMES[priority];
}

const DAY_MS = 86_400_000;
export const Timeouts = z
  .strictObject({
    /** From submit (or runAt) to a node's acceptance; none unless said. */
    queueMs: z
      .int()
      .min(1)
      .max(30 * DAY_MS)
      .optional(),
    /** From the offer to the start on the node; none unless said, because each heartbeat names what the node holds. */
    startMs: z.int().min(1).max(DAY_MS).optional(),
    /** One attempt's run; 30 min for an agent turn, 10 min else. */
    runMs: z
      .int()
      .min(1)
      .max(7 * DAY_MS)
      .optional(),
    /** No output for this long; 5 min for an agent turn, none else. */
    idleMs: z
      .int()
      .min(1)
      .max(7 * DAY_MS)
      .optional(),
  })
  .meta({ id: "Timeouts" });
export type Timeouts = z.infer<typeof Timeouts>;

export const Retry = z
  .strictObject({
    /** Attempts beyond the first; 2 unless said. */
    max: z.int().min(0).max(100).optional(),
    /** First pause between attempts; doubles each time, with full jitter; 2 s unless said. */
    backoffMs: z.int().min(0).max(3_600_000).optional(),
  })
  .meta({ id: "Retry" });
export type Retry = z.infer<typeof Retry>;

/** When the node of a running attempt is lost: run again, ask a person, or fail (DESIGN §4). */
export const OnLost = z.enum(["retry", "ask", "fail"]);
export type OnLost = z.infer<typeof OnLost>;

export const EchoInput = z
  .strictObject({
    /** Comes back as the result. */
    value: Json.optional(),
    /** Pretends to work for this long. */
    delayMs: z.int().min(0).max(600_000).optional(),
    /** Ends with agent_failed instead, for drills. */
    fail: z.boolean().optional(),
  })
  .meta({ id: "EchoInput" });
export type EchoInput = z.infer<typeof EchoInput>;

/** What a node's owner has called it. */
export const SecretName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/, "a secret's name is letters, digits and _");
export type SecretName = z.infer<typeof SecretName>;
/** Stands for a secret that the node itself keeps: the value is never a part of a task. */
const SecretRef = z.strictObject({ secret: SecretName });

export const CommandInput = z
  .strictObject({
    /** Program and arguments; never a shell string. */
    argv: z.array(z.string().max(32_768)).min(1).max(256),
    /** An absolute folder on the node that its policy allows; else a fresh folder of the attempt's own. */
    cwd: z.string().min(1).max(4_096).optional(),
    /** Added to the short environment that a command gets: a text, or the name of a secret of the node's own. */
    env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/), z.union([z.string().max(32_768), SecretRef])).optional(),
    stdin: z.string().max(65_536).optional(),
    outputBytesMax: z.int().min(0).max(LIMITS.outputBytesCeiling).optional(),
    /** Tighter ones than the node's policy has; wider ones change nothing. */
    limits: CommandLimits.partial().optional(),
  })
  .meta({ id: "CommandInput" });
export type CommandInput = z.infer<typeof CommandInput>;

const AgentName = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);
const SessionName = z.string().regex(/^[A-Za-z0-9:_.-]{1,128}$/);

export const AgentInput = z
  .strictObject({
    message: z.string().min(1).max(200_000),
    /** One of the node's OpenClaw agents; its default one unless said. */
    agent: AgentName.optional(),
    /**
     * Turns with the same session on the same node continue one conversation, the submitter's own; a session of the task's own
     * unless said. Names that begin with cluster- or agent:, and main, are the node's, which opens them in its policy or not.
     */
    session: SessionName.optional(),
    /** `provider/model`, as that node's OpenClaw names it. */
    model: Name.optional(),
    /** A skill the turn needs: the node must have it, and the agent is told to use it. */
    skill: Name.optional(),
    thinking: z.string().max(32).optional(),
  })
  .meta({ id: "AgentInput" });
export type AgentInput = z.infer<typeof AgentInput>;

export const ToolInput = z
  .strictObject({
    tool: Name,
    args: z.record(z.string(), Json).optional(),
    agent: AgentName.optional(),
    session: SessionName.optional(),
  })
  .meta({ id: "ToolInput" });
export type ToolInput = z.infer<typeof ToolInput>;

/** What a task is filed and placed by. Everybody who may read tasks may see it of every task. */
const outline = {
  name: Name.optional(),
  labels: Labels.optional(),
  user: Name.optional(),
  require: Require.optional(),
  prefer: Prefer.optional(),
  strategy: Strategy.optional(),
  priority: Priority.optional(),
  /** Work is fair between keys of one priority. */
  fairnessKey: Name.optional(),
  /** Not before this time, in ms since 1970. */
  runAt: z.int().min(0).optional(),
  /** Failed if not done by this time, in ms since 1970. */
  deadline: z.int().min(0).optional(),
  timeouts: Timeouts.optional(),
  retry: Retry.optional(),
  onLost: OnLost.optional(),
};

const common = {
  ...outline,
  /** Same key and same body: the same task. Same key, another body: 409. Kept for at least 24 h. */
  dedupeKey: z
    .string()
    .min(1)
    .max(256)
    // The store keeps UTF-8, in which halves of characters are all the same.
    .refine((key) => key.isWellFormed(), "half of a character")
    .optional(),
};

export const TaskSpec = z
  .discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("echo"), input: EchoInput, ...common }),
    z.strictObject({ kind: z.literal("command"), input: CommandInput, ...common }),
    z.strictObject({ kind: z.literal("agent"), input: AgentInput, ...common }),
    z.strictObject({ kind: z.literal("tool"), input: ToolInput, ...common }),
    z.strictObject({ kind: z.literal("model"), input: ModelInput, ...common }),
  ])
  .meta({ id: "TaskSpec" });
export type TaskSpec = z.infer<typeof TaskSpec>;

export const TaskKind = z.enum(["echo", "command", "agent", "tool", "model"]);
export type TaskKind = z.infer<typeof TaskKind>;

/** A spec without its payload: what is shown of another's task (core/visibility.ts). A field is hidden unless it stands in `outline`. */
export const SpecOutline = z.strictObject({ kind: TaskKind, ...outline }).meta({ id: "SpecOutline" });
export type SpecOutline = z.infer<typeof SpecOutline>;
