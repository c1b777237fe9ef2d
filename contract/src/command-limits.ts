/**
 * What one attempt of a command may take of its node. The node's policy sets the limits; a task may ask for tighter ones,
 * never for wider ones. `keeps` says by what a node holds commands to them.
 */
import { z } from "zod";

export const CommandLimits = z.strictObject({
  /** Of all its processes together. */
  memoryMiB: z.int().min(16).max(16_777_216),
  /** At one time. Threads count, as the kernel counts them. */
  processes: z.int().min(1).max(1_000_000),
  /** The size of each file that it writes. */
  fileMiB: z.int().min(1).max(16_777_216),
  /** Of each process. */
  openFiles: z.int().min(16).max(1_000_000),
});
export type CommandLimits = z.infer<typeof CommandLimits>;

export const LimitName = CommandLimits.keyof();
export type LimitName = z.infer<typeof LimitName>;

/**
 * cgroup: a control group of the kernel's, exactly. rlimit: a limit of the kernel's on each process, exactly. watch: by
 * looking several times a second; what grows faster goes over it for that long. none: nothing keeps it on this system.
 */
export const Keeper = z.enum(["cgroup", "rlimit", "watch", "none"]);
export type Keeper = z.infer<typeof Keeper>;

export const SandboxMode = z.enum(["none", "preferred", "required"]);
export type SandboxMode = z.infer<typeof SandboxMode>;

const Text = z.string().max(256);

/** How a node holds its commands in, as its facts tell it. */
export const Confinement = z.object({
  limits: z.object({ ...CommandLimits.shape, nice: z.int() }),
  keeps: z.object({ memoryMiB: Keeper, processes: Keeper, fileMiB: Keeper, openFiles: Keeper, nice: z.boolean() }),
  /** Why a limit is kept less than exactly. */
  note: Text.optional(),
  sandbox: z.object({
    available: z.boolean(),
    /** Why there is none. */
    reason: Text.optional(),
    /** For commands whose rule says nothing else. */
    mode: SandboxMode,
    /** Programs that run here in a sandbox or not at all; `**` stands for every program. */
    required: z.array(Text).max(256),
  }),
});
export type Confinement = z.infer<typeof Confinement>;
