/** One command in this process's own executor: for tests of what holds it in. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import type { ClusterId, NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { CommandInput, TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Outcome } from "@openclaw-cluster/contract/wire";
import { Policy } from "../../cluster/src/core/policy.ts";
import { commandExecutor } from "../../cluster/src/executors/command.ts";
import { openConfinement, type Confinement, type ConfinementParts } from "../../cluster/src/executors/confinement.ts";
import type { Execution } from "../../cluster/src/executors/executors.ts";
import { silentLog } from "../../cluster/src/system/log.ts";

export interface CommandGround {
  readonly folder: string;
  readonly confinement: Confinement;
  run(script: string, more?: Partial<CommandInput>): CommandRun;
  close(): void;
}

export interface CommandRun {
  readonly outcome: Promise<Outcome>;
  /** What it has printed to stdout so far. */
  stdout(): string;
  cancel(): void;
}

/** `policy`: beside leave to run any bash script. */
export function openCommandGround(policy: object = {}, parts: Partial<ConfinementParts> = {}): CommandGround {
  const folder = realpathSync(mkdtempSync(path.join(tmpdir(), "ocx-command-")));
  const own = { folder, clusterHome: path.join(folder, "home"), userHome: homedir(), env: process.env, log: silentLog };
  const confinement = openConfinement({ ...own, ...parts });
  const current = Policy.parse({ version: 1, allow: { commands: ["bash -c *", "**"] }, ...policy });
  const executor = commandExecutor({ policy: { current: () => current }, inherited: process.env, confinement });
  let count = 0;
  return {
    folder,
    confinement,
    run(script, more = {}) {
      const spec: TaskSpec = { kind: "command", input: { argv: ["bash", "-c", script], ...more } };
      const controller = new AbortController();
      let stdout = "";
      const own = path.join(folder, `t${++count}.1`);
      mkdirSync(own);
      const execution: Execution = {
        cluster: "abcdefgh" as ClusterId,
        node: "studio" as NodeId,
        offer: { task: `t${count}` as TaskId, attempt: 1, epoch: 1, spec },
        signal: controller.signal,
        folder: own,
        log: silentLog,
        output: async (stream, text) => {
          if (stream === "stdout") stdout += text;
        },
        progress: () => undefined,
        acted: () => undefined,
      };
      return { outcome: executor.run(spec, execution), stdout: () => stdout, cancel: () => controller.abort("cancelled") };
    },
    close() {
      confinement.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
