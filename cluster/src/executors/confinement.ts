/**
 * By what this machine holds commands in: control groups or looks, limits of each process, and a sandbox. Found out when
 * it is first asked for, so that a node that runs no commands makes no group and tries no sandbox.
 *
 * C1. What is not kept exactly is said, in the node's facts and in the log; nothing is left out in silence.
 * C2. A sandbox that is missing is looked for again, so that installing it is enough.
 */
import { createHash, randomUUID } from "node:crypto";
import os from "node:os";
import path from "node:path";
import type { Confinement as ConfinementFacts, Keeper } from "@openclaw-cluster/contract/command-limits";
import { sandboxedPrograms } from "../core/allow-rule.ts";
import { boundsOf, limitsHere, type Asked, type Bounds, type Limits } from "../core/bounds.ts";
import type { Policy } from "../core/policy.ts";
import type { Log } from "../system/log.ts";
import { endGroups, makeAttemptGroup, removePlaces, type AttemptGroup } from "./attempt-group.ts";
import { findGroupHome, type GroupHome, type Place } from "./cgroup-home.ts";
import type { Tree } from "./process-tree.ts";
import { boxed, findSandbox, type Boxed, type Owner, type Sandbox } from "./sandbox.ts";
import type { Shown, Unsafe } from "./shown-places.ts";
import { watchTree, type TreeWatch } from "./tree-watch.ts";

/** What holds one attempt. */
export interface Hold {
  readonly group: AttemptGroup | undefined;
  /** Where no group counts them. */
  readonly processes: number | undefined;
  /** The program runs. */
  watch(tree: Tree): void;
  breach(): "memoryMiB" | "processes" | undefined;
  /** It has ended. */
  release(): void;
}

export type NoSandbox = Extract<Sandbox, { kind: "missing" }>;

export interface Confinement {
  /** The limits of this machine's policy, tightened by what the task asks. */
  bounds(limits: Limits, asked?: Asked): Bounds;
  /** Before the start of a program; an error where the kernel does not make what it can make. */
  hold(name: string, bounds: Bounds): Hold | Error;
  /** What stands before a program in a sandbox, and is to be closed; or why there is none. */
  boxed(shown: Shown): Promise<Boxed | Unsafe | NoSandbox>;
  /** For the node's facts; undefined where the policy lets no command run. */
  facts(policy: Policy): Promise<ConfinementFacts | undefined>;
  /** Ends what an earlier life left in its groups. Returns the ids that could not be ended. */
  sweep(): Promise<readonly number[]>;
  /** Where groups are made, if they are, and how the names of this life's begin. */
  ours(): { readonly places: readonly Place[]; readonly prefix: string };
  /** Nothing runs any more. */
  close(): void;
}

export interface ConfinementParts extends Owner {
  /** In which something may be put for a trial; its path names this daemon's groups. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  /** Instead of those of the system: where there are none, for instance. */
  readonly findGroups?: (name: string) => GroupHome;
}

const MIB = 1024 * 1024;
const TEXT_MAX = 256;
const REQUIRED_MAX = 256;
const LOOK_AGAIN_MS = 60_000;

export function openConfinement(parts: ConfinementParts): Confinement {
  return new OpenConfinement(parts);
}

class OpenConfinement implements Confinement {
  private readonly parts: ConfinementParts;
  private readonly machineMiB = Math.floor(Math.min(os.totalmem(), process.constrainedMemory() || Infinity) / MIB);
  private readonly prefix = `${randomUUID().slice(0, 8)}-`;
  private found: GroupHome | undefined;
  private sandbox: Promise<Sandbox> | undefined;
  private lookedAtMs = 0;

  constructor(parts: ConfinementParts) {
    this.parts = parts;
  }

  ours(): { places: readonly Place[]; prefix: string } {
    const home = this.groups();
    return { places: home.kind === "found" ? home.places : [], prefix: this.prefix };
  }

  bounds(limits: Limits, asked?: Asked): Bounds {
    return boundsOf(limits, this.machineMiB, asked);
  }

  hold(name: string, { memoryMiB, processes }: Bounds): Hold | Error {
    const limits = { memoryMiB: memoryMiB.value, processes: processes.value };
    const home = this.groups();
    if (home.kind === "none") return watched(limits);
    try {
      return grouped(makeAttemptGroup(home.places, `${this.prefix}${name}`, limits), name, this.parts.log);
    } catch (error) {
      return error as Error;
    }
  }

  async boxed(shown: Shown): Promise<Boxed | Unsafe | NoSandbox> {
    const sandbox = await this.look();
    return sandbox.kind === "there" ? boxed(sandbox, shown, this.parts) : sandbox;
  }

  async facts({ allow, deny, limits, sandbox: mode }: Policy): Promise<ConfinementFacts | undefined> {
    if (allow.commands.length === 0 || deny.kinds.includes("command")) return undefined;
    const home = this.groups();
    const sandbox = await this.look();
    const note = home.kind === "none" ? (process.platform === "linux" ? home.reason : `not built for ${process.platform} yet`) : undefined;
    return {
      limits: limitsHere(limits, this.machineMiB),
      keeps: keepers(home),
      ...(note !== undefined && { note: note.slice(0, TEXT_MAX) }),
      sandbox: {
        available: sandbox.kind === "there",
        ...(sandbox.kind === "missing" && { reason: sandbox.reason.slice(0, TEXT_MAX) }),
        mode,
        required: sandboxedPrograms(allow.commands, mode)
          .slice(0, REQUIRED_MAX)
          .map((program) => program.slice(0, TEXT_MAX)),
      },
    };
  }

  async sweep(): Promise<readonly number[]> {
    return endGroups(this.ours().places, "");
  }

  close(): void {
    if (this.found?.kind === "found") removePlaces(this.found.places);
  }

  private groups(): GroupHome {
    if (this.found === undefined) {
      const { folder, findGroups = findGroupHome, log } = this.parts;
      this.found = findGroups(`openclaw-cluster-${createHash("sha256").update(path.resolve(folder)).digest("hex").slice(0, 12)}`);
      if (this.found.kind === "none")
        log.warn(
          { reason: this.found.reason },
          process.platform === "linux"
            ? "no control groups: memory and processes of commands are limited by looking at them several times a second"
            : "memory and processes of commands are not limited on this system",
        );
    }
    return this.found;
  }

  /** C2 */
  private look(): Promise<Sandbox> {
    if (this.sandbox === undefined || performance.now() - this.lookedAtMs > LOOK_AGAIN_MS) {
      const { env, folder } = this.parts;
      this.lookedAtMs = performance.now();
      const trial = findSandbox(env, this.parts, path.join(folder, "sandbox-trial"));
      this.sandbox = trial;
      // One that works goes on working; if not, its programs say so.
      void trial.then((found) => {
        if (found.kind === "there") this.lookedAtMs = Infinity;
        else this.parts.log.debug({ reason: found.reason }, "there is no sandbox for commands");
      });
    }
    return this.sandbox;
  }
}

function keepers(home: GroupHome): ConfinementFacts["keeps"] {
  const tree: Keeper = home.kind === "found" ? "cgroup" : process.platform === "linux" ? "watch" : "none";
  const each: Keeper = process.platform === "win32" ? "none" : "rlimit";
  return { memoryMiB: tree, processes: tree, fileMiB: each, openFiles: each, nice: true };
}

function grouped(group: AttemptGroup, name: string, log: Log): Hold {
  return {
    group,
    processes: undefined,
    watch: () => undefined,
    breach: () => group.breach(),
    release() {
      group.remove().then(
        (gone) => gone || log.warn({ group: name }, "a control group could not be removed"),
        (error: unknown) => log.warn({ err: error, group: name }, "a control group could not be removed"),
      );
    },
  };
}

function watched(limits: { readonly memoryMiB: number; readonly processes: number }): Hold {
  if (process.platform !== "linux")
    return { group: undefined, processes: undefined, watch: () => undefined, breach: () => undefined, release: () => undefined };
  let watch: TreeWatch | undefined;
  return {
    group: undefined,
    processes: limits.processes,
    watch(tree) {
      watch = watchTree(tree, limits);
    },
    breach: () => watch?.breach,
    release: () => watch?.stop(),
  };
}
