/**
 * Reads the node's policy.yaml, and again whenever it changes, without a restart.
 *
 * P1. No file: the shipped default. A file that cannot be read, is no valid policy, or that anyone on the machine may
 *     write: everything is denied, loudly, until it is put right (N2 in core/policy.ts).
 * P2. A change is noticed by the system's own notice at once, and by looking at the file in any case.
 */
import { statSync, watch, type FSWatcher } from "node:fs";
import path from "node:path";
import { DEFAULT_POLICY, DENY_ALL, type Policy, type PolicySource } from "../core/policy.ts";
import type { Clock, Timer } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { policyFaultText, readPolicy } from "./policy-reading.ts";

const LOOK_MS = 5_000;
/** An editor writes in several steps; only the last one counts. */
const SETTLE_MS = 50;

export interface PolicyFile extends PolicySource {
  onChange(listener: () => void): { stop(): void };
  close(): void;
}

/** What `start` writes for its user. Says the same as DEFAULT_POLICY. */
export const DEFAULT_POLICY_YAML = `# What the cluster may run on this machine. Only this file decides; no coordinator can widen it.
# Changes take effect at once. What is not allowed is denied, and deny wins over allow.
# If this file is broken, everything is denied; \`openclaw-cluster policy check\` says why.
version: 1

allow:
  # Probes that give their input back.
  echo: true

  # OpenClaw agents of this machine that may be given turns. "default" means a task that names no agent.
  agents: ["*"]

  # Tools that may be called directly, without an agent: for example [web_fetch].
  tools: []

  # Conversations of this machine's OpenClaw that a task may name, by OpenClaw's own names for them: main is your own. Those that
  # tasks name otherwise are each user's own, and need no leave.
  # sessions: [main]

  # Programs that may be started. A line is a program and a pattern for each of its arguments: * stands for
  # any characters of one argument, ** at the end for any further arguments. A star never stands for a way up (..),
  # nor for code: options of interpreters (python3 -c, sh -c), the program that sudo or env is to run, and whatever is
  # run by ssh must stand in the line, and an interpreter takes stdin only where its script does.
  # commands:
  #   - uname -a
  #   - git -C /home/me/project pull
  #   - /opt/scripts/report.sh **
  # What is to be said of how one runs stands beside it; docs/isolation.md explains each word.
  #   - run: make -C /home/me/project
  #     sandbox: required
  #     network: true
  #     folders: [/home/me/project]

  # Folders (with all below them) in which such a program may run; else it gets a fresh one of its own.
  # cwds:
  #   - /home/me/project

  # Variables that a task may set for such a program: whole names, or a beginning of your own that ends in _ and a star.
  # Those like PATH, CC or LD_PRELOAD decide what code a program runs. HOME and TMPDIR are always its own folder.
  # env: [TZ, "APP_*"]

  # Secrets of this machine (\`openclaw-cluster secret set\`) that a task may have put into such a variable. Whoever may
  # start a program that is given one may learn it from that program.
  # secrets: [DEPLOY_KEY]

  # Language models of this machine that other nodes may use, by the names under which its server (Ollama, LM Studio, llama.cpp,
  # vLLM) lists them: for example ["qwen3*"]. [] lends none. What this machine asks of its own models needs no leave.
  models: ["*"]

# deny:
#   agents: [private]
#   commands: [rm]
#   models: ["*:70b"]

# Who may use this machine: users, as \`openclaw-cluster token list\` shows them; everybody, unless said.
# This is as true as what the coordinator says of them.
# users:
#   allow: [ann, "build-*"]
#   deny: [bob]

# When nothing new is begun here; what runs goes on. Times are this machine's, or those of timeZone. With pinned,
# what may run on this machine only is taken all the same.
# hours:
#   quiet: ["22:00-07:00"]
#   days: [mon, tue, wed, thu, fri]
#   timeZone: Europe/Berlin
#   pinned: false

# A machine that runs on its battery lends its models to nobody, unless this is true.
# battery:
#   models: false

# Do such programs run in a sandbox (bubblewrap, on Linux)? none; preferred: where there is one; required: or not at all.
# sandbox: none

# What one of them may take of this machine. These are the defaults, but for memory, which is half of the machine's.
# limits:
#   memoryMiB: 4096
#   processes: 1024
#   fileMiB: 16384
#   openFiles: 4096
#   nice: 5
`;

export function openPolicyFile(parts: { file: string; clock: Clock; log: Log }): PolicyFile {
  return new WatchedPolicy(parts.file, parts.clock, parts.log);
}

class WatchedPolicy implements PolicyFile {
  private readonly file: string;
  private readonly clock: Clock;
  private readonly log: Log;
  private readonly listeners = new Set<() => void>();
  private readonly watcher: FSWatcher | undefined;
  private policy: Policy;
  private stamp: string;
  private looking: Timer;
  private settling: Timer | undefined;

  constructor(file: string, clock: Clock, log: Log) {
    this.file = file;
    this.clock = clock;
    this.log = log;
    this.stamp = stampOf(file);
    this.policy = this.read();
    this.watcher = this.listen();
    this.looking = this.lookLater();
  }

  current(): Policy {
    return this.policy;
  }

  onChange(listener: () => void): { stop(): void } {
    this.listeners.add(listener);
    return { stop: () => void this.listeners.delete(listener) };
  }

  close(): void {
    this.watcher?.close();
    this.looking.cancel();
    this.settling?.cancel();
    this.listeners.clear();
  }

  /** Watches the folder: a file that is replaced by a rename is another file. */
  private listen(): FSWatcher | undefined {
    try {
      const watcher = watch(path.dirname(this.file), { persistent: false }, (_event, name) => {
        if (name !== path.basename(this.file)) return;
        this.settling?.cancel();
        this.settling = this.clock.after(SETTLE_MS, () => this.look());
      });
      watcher.on("error", (error) => this.log.warn({ err: error }, "policy.yaml is not watched any more; changes are seen within seconds"));
      return watcher;
    } catch (error) {
      this.log.warn({ err: error }, "policy.yaml cannot be watched; changes are seen within seconds");
      return undefined;
    }
  }

  private lookLater(): Timer {
    return this.clock.after(LOOK_MS, () => {
      this.looking = this.lookLater();
      this.look();
    });
  }

  private look(): void {
    const stamp = stampOf(this.file);
    if (stamp === this.stamp) return;
    this.stamp = stamp;
    this.policy = this.read();
    this.log.info({ file: this.file }, "the node's policy was read again");
    for (const listener of this.listeners) listener();
  }

  private read(): Policy {
    const reading = this.stamp === "none" ? ({ kind: "absent" } as const) : readPolicy(this.file);
    switch (reading.kind) {
      // One that was there a moment ago is looked at again.
      case "absent":
        return this.stamp === "none" ? DEFAULT_POLICY : DENY_ALL;
      case "read":
        return reading.policy;
      case "broken":
        this.log.error(
          { file: this.file, faults: reading.faults.map((fault) => policyFaultText(this.file, fault)) },
          "the node's policy cannot be read: EVERYTHING IS DENIED on this node until it is put right",
        );
        return DENY_ALL;
    }
  }
}

/** Differs when the file does; "none" only where there certainly is none. */
function stampOf(file: string): string {
  try {
    const { mtimeNs, size, ino, mode } = statSync(file, { bigint: true });
    return `${mtimeNs}.${size}.${ino}.${mode}`;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? "none" : "unreadable";
  }
}
