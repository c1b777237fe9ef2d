/**
 * Runs this machine's daemon in the foreground, for `start` and `join`: until Ctrl-C, until the coordinator asks it to end, or
 * until it cannot go on.
 */
import { rm } from "node:fs/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Daemon } from "../compose/compose.ts";
import type { ClusterConfig } from "../system/config.ts";
import { foldersOf, writePrivateFile } from "../system/folders.ts";
import { failureOf, tellFailure } from "./failure.ts";
import { INTERRUPTED } from "./follow.ts";
import type { Session } from "./session.ts";
import { plain, remark } from "./terminal.ts";

export interface DaemonRun {
  /** The settings; asked again where the machine was promoted or demoted. */
  load(): Promise<ClusterConfig>;
  readonly untilInputEnds?: boolean;
  /** It works, for the first time. `signal`: it was asked to end. */
  up(daemon: Daemon, signal: AbortSignal): void | Promise<void>;
}

/** The exit code. */
export async function runDaemon(session: Session, { untilInputEnds = false, ...run }: DaemonRun): Promise<number> {
  const { terminal } = session;
  const asked = Promise.withResolvers<void>();
  const giveUp = new AbortController();
  const ask = (): void => {
    giveUp.abort();
    asked.resolve();
  };
  let times = 0;
  const interrupt = terminal.onInterrupt(() => {
    times += 1;
    if (times > 1) terminal.exit(INTERRUPTED);
    remark(terminal, "stopping in good order; once more ends it at once");
    ask();
  });
  if (untilInputEnds) void terminal.readInput().finally(ask);
  try {
    for (let { up } = run; ; up = tellAnew(session)) {
      const ended = await runOnce(session, { ...run, up }, { giveUp, asked: asked.promise });
      if (ended !== "changed") return ended;
    }
  } finally {
    interrupt.stop();
  }
}

interface Ending {
  readonly giveUp: AbortController;
  readonly asked: Promise<void>;
}

/** The exit code, or that the daemon has to begin anew, with the settings as they are then. */
async function runOnce(session: Session, { load, up }: DaemonRun, { giveUp, asked }: Ending): Promise<number | "changed"> {
  const { terminal, home } = session;
  const { apiUrl } = foldersOf(home);
  const { startDaemon } = await import("../compose/compose.ts");
  const { signal } = giveUp;
  const config = await load();
  const daemon = await startDaemon({ config, home, env: terminal.env, signal, onProgress: (text) => remark(terminal, plain(text)) });
  if (daemon === undefined) return 0;
  const over = new AbortController();
  try {
    if (daemon.apiUrl !== undefined) await writePrivateFile(apiUrl, `${daemon.apiUrl}\n`);
    const quiet = AbortSignal.any([signal, over.signal]);
    const telling = tellUp(session, async () => up(daemon, quiet), quiet);
    const changed = daemon.changed.then(() => "changed" as const);
    // Asked here by a person or from afar by the coordinator, it ends well; by itself it does not.
    const fault = await Promise.race([asked, daemon.dismissed, daemon.failed, changed]);
    over.abort();
    if (fault !== "changed") giveUp.abort();
    await telling;
    if (fault === "changed") return signal.aborted ? 0 : fault;
    return fault === undefined ? 0 : tellFailure(terminal, false, { ...failureOf(fault), exit: exitOf(fault) });
  } finally {
    await daemon.stop();
    await rm(apiUrl, { force: true });
  }
}

/** Of a daemon that was promoted or demoted. */
function tellAnew({ terminal }: Session): DaemonRun["up"] {
  return ({ roles, apiUrl }) =>
    remark(terminal, `this machine is ${roles.join(" and ")} now${apiUrl === undefined ? "" : `; its API is at ${apiUrl}`}`);
}

/** What is told of a daemon is not the daemon: where that fails, it goes on. */
async function tellUp({ terminal }: Session, tell: () => Promise<void>, signal: AbortSignal): Promise<void> {
  try {
    await tell();
  } catch (error) {
    if (signal.aborted) return;
    const { detail, hint } = failureOf(error);
    remark(terminal, `the daemon runs, but: ${plain(detail)}\n hint: ${hint}`);
  }
}

/** Service managers start anew what ended with 1, and leave alone what ended with 2: it would end the same way again. */
function exitOf(fault: Error): number {
  return fault instanceof ClusterError && fault.code === "node_removed" ? fault.row.exit : 1;
}
