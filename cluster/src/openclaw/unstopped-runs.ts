/**
 * Stopping runs in the Gateway, also those that could not be stopped at once because it was away: each is looked for
 * when the connection is back, and under the id that OpenClaw gave it when it took an interrupted turn up again.
 * Without this a task that was cancelled, or given up and run elsewhere, could go on here after the Gateway's restart.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { z } from "zod";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import type { Connection } from "./connection.ts";
import { runState, runText, waitForRun } from "./run-record.ts";

interface RunRef {
  readonly runId: string;
  readonly sessionKey: string;
}

/** The executor's whole stop may take 3 s. */
const ABORT_MS = 2_500;
/** Kept while the Gateway is away; the oldest are dropped beyond it. */
const RUNS_MAX = 200;
/** How long after a connection a resumption is looked for. */
const SEARCH_MS = 120_000;
const SEARCH_STEP_MS = 1_000;

const AbortAnswer = z.looseObject({ status: z.string() });

/** `not_running` may be a run that has ended, and one that the Gateway has not taken up again yet. */
export async function stopRun(connection: Connection, { runId, sessionKey }: RunRef): Promise<"stopped" | "not_running" | "no_answer"> {
  try {
    const { status } = await connection.request("sessions.abort", { key: sessionKey, runId }, AbortAnswer, { timeoutMs: ABORT_MS });
    return status === "aborted" ? "stopped" : "not_running";
  } catch (error) {
    if (error instanceof ClusterError) return "no_answer";
    throw error;
  }
}

export class UnstoppedRuns {
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #runs = new Map<string, RunRef>();
  readonly #status: { stop(): void };

  constructor(parts: { connection: Connection; clock: Clock; log: Log }) {
    this.#connection = parts.connection;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#status = parts.connection.onStatus((reachable) => {
      if (reachable) for (const run of this.#runs.values()) this.#search(run);
    });
  }

  add(run: RunRef): void {
    this.#runs.set(run.runId, run);
    const oldest = this.#runs.keys().next();
    if (this.#runs.size > RUNS_MAX && !oldest.done) this.#runs.delete(oldest.value);
    if (this.#connection.hello !== undefined) this.#search(run);
  }

  close(): void {
    this.#status.stop();
    this.#runs.clear();
  }

  #search(run: RunRef): void {
    const giveUpAt = this.#clock.monotonic() + SEARCH_MS;
    const look = async (): Promise<void> => {
      // Without a connection the next one begins a search of its own.
      if (!this.#runs.has(run.runId) || this.#connection.hello === undefined) return;
      const over = await this.#isOver(run).catch((error: unknown) => {
        this.#log.debug({ runId: run.runId, error: String(error) }, "a run that should be stopped could not be looked up");
        return false;
      });
      if (over || this.#clock.monotonic() > giveUpAt) this.#runs.delete(run.runId);
      else this.#clock.after(SEARCH_STEP_MS, () => void look());
    };
    void look();
  }

  /** Stops it if it runs. True: it does not run, and will not be taken up again. */
  async #isOver(run: RunRef): Promise<boolean> {
    const state = await runState(this.#connection, run.sessionKey, run.runId);
    if (state === undefined || state.status === "completed") return true;
    if (state.status === "running") return (await stopRun(this.#connection, run)) === "stopped";
    // Only a run whose end this Gateway process did not see can be taken up again.
    if ((await waitForRun(this.#connection, run.runId, 0)).kind !== "open") return true;
    const { resumedAs } = await runText(this.#connection, run.sessionKey, run.runId);
    if (resumedAs === undefined) return false;
    this.#log.info({ runId: run.runId, resumedAs }, "stopping a turn that the Gateway took up again after it was given up");
    return this.#isOver({ ...run, runId: resumedAs });
  }
}
