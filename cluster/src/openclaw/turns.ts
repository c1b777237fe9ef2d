/**
 * One agent turn from its start, or from where it stands, to its end. The run lives in the Gateway: it goes on when our
 * connection or this daemon dies, and after a restart of the Gateway itself OpenClaw takes the turn up again as a run of
 * another id. So a turn is a loop: look the run up, begin it if the Gateway has no record of it, else wait for its end.
 *
 * R1. `agent` is called only for a run that is not in the Gateway's ledger, so one run id never works twice.
 * R2. A turn that was stopped, by its signal or its deadline, is also stopped in the Gateway, now or when it is back.
 * R3. It ends: after `timeoutMs`, or RECONNECT_MS after the Gateway was lost.
 * R4. It does not wait for a throttled provider where the cluster can: a slot is for work.
 * R5. Nothing is begun without leave at that moment. A run that is found going on without leave is stopped, and what it has
 *     used by then is told first: that decides whether another may do it again.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { z } from "zod";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { pause } from "../system/pause.ts";
import { AgentAnswer, doneTurn, readAgentAnswer, runFailure } from "./agent-answer.ts";
import type { Connection } from "./connection.ts";
import type { Turn, TurnEnd, TurnEvent } from "./openclaw.ts";
import { runState, runText, waitForRun, type RunState, type RunText } from "./run-record.ts";
import { TurnStream, type ModelFault } from "./turn-events.ts";
import { stopRun, type UnstoppedRuns } from "./unstopped-runs.ts";

interface TurnParts {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly log: Log;
  readonly unstopped: Pick<UnstoppedRuns, "add">;
}

/** A Gateway that is up is reached, and takes a run, well within this. */
const CONNECT_MS = 15_000;
/** A Gateway needs 10 to 30 s to start, more on a slow machine. */
const RECONNECT_MS = 120_000;
/** OpenClaw takes an interrupted turn up about 3 s after it is ready; on a busy machine 13 s were seen. */
const RESUME_MS = 60_000;
/** One wait for the end of a run. */
const WAIT_MS = 20_000;
const LOOK_AGAIN_MS = 500;
/** OpenClaw's own pauses before a throttled model is asked again grow to 30 s; a longer one is what the provider asks for. */
const THROTTLED_PATIENCE_MS = 30_000;
/** OpenClaw's own time-out comes this much after ours, so that ours decides. */
const TIMEOUT_MARGIN_MS = 10_000;

export async function runTurn(parts: TurnParts, turn: Turn, signal: AbortSignal, onEvent: (event: TurnEvent) => void): Promise<TurnEnd> {
  const running = new RunningTurn(parts, turn, onEvent);
  const stopped = Promise.withResolvers<"aborted" | "deadline" | ModelFault>();
  const onAbort = (): void => stopped.resolve("aborted");
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  const deadline = parts.clock.after(turn.timeoutMs, () => stopped.resolve("deadline"));
  running.onThrottled((pauseMs) => {
    if (pauseMs > THROTTLED_PATIENCE_MS) stopped.resolve({ reason: "rate_limit", throttled: true, pauseMs });
  });
  try {
    const end = await Promise.race([stopped.promise, running.end()]);
    if (typeof end === "object" && "kind" in end) return end;
    await running.stop();
    if (end === "aborted") return { kind: "aborted" };
    if (end !== "deadline") return faulty(end, `The model's provider asks for a pause of ${end.pauseMs} ms.`);
    return { kind: "failed", code: "run_timeout", message: `The turn ran longer than ${turn.timeoutMs} ms.` };
  } finally {
    deadline.cancel();
    signal.removeEventListener("abort", onAbort);
    running.close();
  }
}

function faulty({ reason, throttled, pauseMs }: ModelFault, message: string): TurnEnd {
  if (!throttled) return { kind: "failed", code: "agent_failed", message, reason };
  return { kind: "failed", code: "throttled", message, reason, ...(pauseMs !== undefined && { retryAfterMs: pauseMs }) };
}

class RunningTurn {
  readonly #parts: TurnParts;
  readonly #turn: Turn;
  readonly #stream: TurnStream;
  readonly #events: { stop(): void };
  readonly #over = new AbortController();
  readonly #startedAt: number;
  /** The run that carries the turn now; a resumption has an id of its own. `began`: by the present connection. */
  #run: { id: string; began: boolean };
  /** Whether the Gateway has the run. Until it was asked, or while it has not answered, that is not known. */
  #there: "unknown" | "no" | "yes" = "unknown";
  #caughtUp = "";
  /** Leave was given, to begin here or to go on. */
  #permitted = false;
  /** Why what was found running is being stopped. */
  #denial: string | undefined;
  #lostAt: number | undefined;

  constructor(parts: TurnParts, turn: Turn, onEvent: (event: TurnEvent) => void) {
    this.#parts = parts;
    this.#turn = turn;
    this.#startedAt = parts.clock.monotonic();
    this.#run = { id: turn.runId, began: false };
    this.#stream = new TurnStream(onEvent);
    this.#events = parts.connection.onEvent(({ event, payload }) => {
      if (event === "agent") this.#stream.take(payload, this.#run);
    });
  }

  onThrottled(listener: (pauseMs: number) => void): void {
    this.#stream.onThrottled = listener;
  }

  async end(): Promise<TurnEnd> {
    while (!this.#over.signal.aborted) {
      const end = await this.#step();
      if (end !== undefined) return this.#explained(end);
      await pause(this.#parts.clock, LOOK_AGAIN_MS);
    }
    return { kind: "aborted" };
  }

  /** R2. Resolves when the Gateway has stopped the run, or when that is noted for later. */
  async stop(): Promise<void> {
    this.#over.abort();
    if (this.#there === "no") return;
    const how = await stopRun(this.#parts.connection, this.#ref());
    if (how === "stopped") return;
    if (how === "no_answer")
      this.#parts.log.warn({ runId: this.#run.id }, "the Gateway cannot be told to stop a run; it will be told when it is back");
    this.#parts.unstopped.add(this.#ref());
  }

  close(): void {
    this.#over.abort();
    this.#events.stop();
  }

  /** The answer has a sentence for people; the cause came in the run's events, before it. */
  #explained(end: TurnEnd): TurnEnd {
    const { fault } = this.#stream;
    return end.kind === "failed" && end.code === "agent_failed" && fault !== undefined ? faulty(fault, end.message) : end;
  }

  #ref(): { runId: string; sessionKey: string } {
    return { runId: this.#run.id, sessionKey: this.#turn.sessionKey };
  }

  /** undefined: look again. */
  async #step(): Promise<TurnEnd | undefined> {
    const { connection, clock } = this.#parts;
    const lost = await this.#reconnect();
    if (lost !== undefined) return lost;
    try {
      const state = await runState(connection, this.#turn.sessionKey, this.#run.id);
      if (state !== undefined) this.#there = "yes";
      else if (this.#run.id === this.#turn.runId) this.#there = "no";
      if (state !== undefined) return await this.#follow(state);
      return this.#there === "no" ? await this.#begin() : undefined;
    } catch (error) {
      if (!(error instanceof ClusterError && error.code === "gateway_unreachable")) throw error;
      // It answers, but will not take the run: then another node should have it.
      if (this.#there === "no" && clock.monotonic() - this.#startedAt > CONNECT_MS) throw error;
      return undefined;
    }
  }

  async #reconnect(): Promise<TurnEnd | undefined> {
    const { connection, unstopped } = this.#parts;
    const taken = this.#there === "yes";
    try {
      await connection.ready(taken ? RECONNECT_MS : CONNECT_MS, this.#over.signal);
      return undefined;
    } catch (error) {
      if (this.#there !== "no" && !this.#over.signal.aborted) unstopped.add(this.#ref());
      if (!taken || !(error instanceof ClusterError)) throw error;
      return { kind: "failed", code: "gateway_unreachable", message: `${error.detail} The turn was running; how it ended is not known.` };
    }
  }

  async #begin(): Promise<TurnEnd | undefined> {
    const { connection } = this.#parts;
    const { sessionKey, message, agent, model, thinking, timeoutMs } = this.#turn;
    const reason = this.#turn.permit("begin");
    if (reason !== undefined) return { kind: "denied", reason, ran: false };
    this.#permitted = true;
    // With less than an administrator's rights a model is chosen for the session, not for one run.
    if (model !== undefined) await connection.request("sessions.patch", { key: sessionKey, model }, z.unknown());
    const params = {
      message,
      sessionKey,
      ...(agent !== undefined && { agentId: agent }),
      ...(thinking !== undefined && { thinking }),
      deliver: false,
      idempotencyKey: this.#run.id,
      timeout: Math.ceil((timeoutMs + TIMEOUT_MARGIN_MS) / 1_000),
    };
    this.#run.began = true;
    try {
      const final = { onSent: () => (this.#there = "unknown"), onAccepted: () => (this.#there = "yes") };
      const answer = await connection.request("agent", params, AgentAnswer, { final, signal: this.#over.signal });
      return readAgentAnswer(answer, sessionKey);
    } catch (error) {
      const failure = runFailure(error);
      if (failure !== undefined) return failure;
      throw error;
    } finally {
      this.#run.began = false;
    }
  }

  /** Waits for the end of a run that the Gateway knows. */
  async #follow(state: RunState): Promise<TurnEnd | undefined> {
    const { connection } = this.#parts;
    const { sessionKey } = this.#turn;
    await this.#catchUp();
    const isRunning = state.status === "running";
    if (isRunning && !this.#permitted) {
      this.#denial ??= this.#turn.permit("go_on");
      this.#permitted = this.#denial === undefined;
    }
    const denied = this.#denial === undefined ? undefined : ({ kind: "denied", reason: this.#denial, ran: true } as const);
    if (isRunning && denied !== undefined && (await this.#withdraw())) return denied;
    const waited = await waitForRun(connection, this.#run.id, isRunning ? WAIT_MS : 0, this.#over.signal);
    if (waited.kind === "aborted") return denied ?? { kind: "aborted" };
    if (waited.kind === "failed") return { kind: "failed", code: "agent_failed", message: waited.error };
    if (waited.kind === "timed_out") return { kind: "failed", code: "run_timeout", message: `OpenClaw ended the turn: ${waited.error}` };
    if (waited.kind === "open" && isRunning) return undefined;
    const said = await runText(connection, sessionKey, this.#run.id);
    if (waited.kind === "ok" || state.status === "completed") {
      for (const call of said.tools) this.#stream.toolSeen(call);
      return doneTurn(sessionKey, said.text, { ...said, toolCalls: this.#stream.toolCalls });
    }
    return this.#resume(said, state.error);
  }

  /** R5. False: it has ended meanwhile, is about to be taken up again, or the Gateway has not answered: what it says of the run tells which. */
  async #withdraw(): Promise<boolean> {
    if ((await stopRun(this.#parts.connection, this.#ref())) !== "stopped") return false;
    this.#caughtUp = "";
    await this.#catchUp();
    return true;
  }

  /** The run ended with an earlier process of the Gateway. */
  #resume({ resumedAs }: RunText, error = "no reason given"): TurnEnd | undefined {
    if (resumedAs !== undefined) {
      this.#parts.log.info({ runId: this.#run.id, resumedAs }, "the Gateway was restarted and has taken the turn up again");
      this.#run = { id: resumedAs, began: false };
      this.#lostAt = undefined;
      return undefined;
    }
    const now = this.#parts.clock.monotonic();
    this.#lostAt ??= now;
    if (now - this.#lostAt < RESUME_MS) return undefined;
    return {
      kind: "failed",
      code: "agent_failed",
      message: `The turn ended with the Gateway's process and was not taken up again: ${error}`,
    };
  }

  /** Tool calls that came while nobody listened, once for each run that was not begun here. */
  async #catchUp(): Promise<void> {
    if (this.#caughtUp === this.#run.id) return;
    const { tools } = await runText(this.#parts.connection, this.#turn.sessionKey, this.#run.id);
    for (const call of tools) this.#stream.toolSeen(call);
    this.#caughtUp = this.#run.id;
  }
}
