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
  readonly config: ClusterConfig;
  readonly untilInputEnds?: boolean;
  /** It works. `signal`: it was asked to end. */
  up(daemon: Daemon, signal: AbortSignal): void | Promise<void>;
}

/** The exit code. */
export async function runDaemon(session: Session, { config, untilInputEnds = false, up }: DaemonRun): Promise<number> {
  const { terminal, home } = session;
  const folders = foldersOf(home);
  const { startDaemon } = await import("../compose/compose.ts");
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
    const { signal } = giveUp;
    const daemon = await startDaemon({ config, home, env: terminal.env, signal, onProgress: (text) => remark(terminal, plain(text)) });
    if (daemon === undefined) return 0;
    try {
      if (daemon.apiUrl !== undefined) await writePrivateFile(folders.apiUrl, `${daemon.apiUrl}\n`);
      const telling = tellUp(session, async () => up(daemon, signal), signal);
      // Asked here by a person or from afar by the coordinator, it ends well; by itself it does not.
      const fault = await Promise.race([asked.promise, daemon.dismissed, daemon.failed]);
      giveUp.abort();
      await telling;
      return fault === undefined ? 0 : tellFailure(terminal, false, { ...failureOf(fault), exit: exitOf(fault) });
    } finally {
      await daemon.stop();
      await rm(folders.apiUrl, { force: true });
    }
  } finally {
    interrupt.stop();
  }
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
