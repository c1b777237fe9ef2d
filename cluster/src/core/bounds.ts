/**
 * What one attempt of a command may take: the policy's `limits`, tightened by what the task asks for.
 *
 * L1. The tighter one counts: no task widens what the owner of the machine has set.
 * L2. Every limit has a default, so that a policy without a word about limits has limits all the same.
 */
import { CommandLimits, type LimitName } from "@openclaw-cluster/contract/command-limits";
import { z } from "zod";

const { shape } = CommandLimits;

export const Limits = z.strictObject({
  /** Half of the machine's, unless said. */
  memoryMiB: shape.memoryMiB.optional(),
  /** Enough for a large build; a fork bomb reaches it within a blink. */
  processes: shape.processes.default(1_024),
  /** Files larger than that are rare, and a disk that is full stops the whole node. */
  fileMiB: shape.fileMiB.default(16_384),
  openFiles: shape.openFiles.default(4_096),
  /** How much commands stand back for the rest of the machine: 0 not at all, 19 altogether. */
  nice: z.int().min(0).max(19).default(5),
});
export type Limits = z.infer<typeof Limits>;

/** For a machine with less, half of its memory would not start a runtime. */
const MEMORY_MIB_MIN = 512;

/** Each limit with who has set it. */
export type Bounds = { readonly [name in LimitName]: { readonly value: number; readonly by: "policy" | "task" } } & {
  readonly nice: number;
};

export type Asked = { readonly [name in LimitName]?: number | undefined };

/** `machineMiB`: the memory of this machine. */
export function boundsOf(limits: Limits, machineMiB: number, asked: Asked = {}): Bounds {
  const own = limitsHere(limits, machineMiB);
  const tighter = (name: LimitName): Bounds[LimitName] => {
    const wish = asked[name];
    return wish !== undefined && wish < own[name] ? { value: wish, by: "task" } : { value: own[name], by: "policy" };
  };
  return {
    memoryMiB: tighter("memoryMiB"),
    processes: tighter("processes"),
    fileMiB: tighter("fileMiB"),
    openFiles: tighter("openFiles"),
    nice: own.nice,
  };
}

/** The policy's limits as they are on a machine with so much memory. */
export function limitsHere(limits: Limits, machineMiB: number): Required<{ [name in keyof Limits]: number }> {
  return { ...limits, memoryMiB: limits.memoryMiB ?? Math.max(MEMORY_MIB_MIN, Math.floor(machineMiB / 2)) };
}

const THINGS: Readonly<Record<LimitName, (value: number) => string>> = {
  memoryMiB: (value) => `${value} MiB of memory`,
  processes: (value) => `${value} processes and threads at one time`,
  fileMiB: (value) => `${value} MiB in one file`,
  openFiles: (value) => `${value} open files`,
};

/** For people: which limit, how much, and what to change. */
export function breachText(program: string, limit: LimitName, bounds: Bounds, node: string): string {
  const { value, by } = bounds[limit];
  const remedy =
    by === "task"
      ? `the task itself asks for that limit (input.limits.${limit})`
      : `limits.${limit} in policy.yaml on ${node} sets that limit`;
  return `${program} was held to its limit of ${THINGS[limit](value)}; ${remedy}.`;
}
