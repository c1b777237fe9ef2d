/**
 * One attempt while it runs: what its executor sees of the world, and why it is to stop.
 *
 * R1. It ends once: with what the executor returns, or, when that does not stop in time after an abort, without it.
 * R2. It costs nothing that it does not use: signal, folder and output are made when an executor asks for them, and
 *     time-outs are looked at from outside (`check`), so that a short attempt sets no timer.
 * R3. The end is written down first, told after the last output is stored, and the slot is free after the folder is gone.
 */
import { mkdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ClusterId, NodeId } from "@openclaw-cluster/contract/ids";
import type { Json } from "@openclaw-cluster/contract/json";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { Progress } from "@openclaw-cluster/contract/task";
import type { AttemptRef, Finished, Offer, Outcome, OutputStream } from "@openclaw-cluster/contract/wire";
import type { Bus } from "../bus/bus.ts";
import { blobName, outputOf } from "../bus/subjects.ts";
import { idleMsOf, runMsOf } from "../core/timeouts.ts";
import { STOP_MS, type AbortCause, type Execution, type Executor } from "../executors/executors.ts";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { pause } from "../system/pause.ts";
import { isNoRoom } from "./disk-room.ts";
import { crashed, explained, tooLarge, weigh, type Weighed } from "./outcome.ts";
import { Output } from "./output.ts";

/** What an attempt needs of its worker. */
export interface Surroundings {
  readonly cluster: ClusterId;
  readonly node: NodeId;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  /** It ends: nothing waits for a bus that is away. */
  readonly leaving: boolean;
  /** The folder that holds the attempts' own. */
  readonly folder: string;
  started(attempt: Attempt): void;
  progressed(attempt: Attempt): void;
  acted(attempt: Attempt): void;
  /** It has ended; if that must survive this process, it is time to write it down. */
  ended(attempt: Attempt, finished: Finished): void;
  /** Its end may be told. */
  finished(attempt: Attempt, finished: Finished, bytes: number): void;
  /** The disk has no room for what an attempt needs. */
  noRoom(): void;
  /** It has waited for a slot for too long. */
  overdue(offer: Offer): void;
  /** Its slot is free. */
  released(attempt: Attempt): void;
}

/** How an attempt of an earlier life is taken up again. */
export interface EarlierLife {
  readonly startedAt: number;
  readonly acted: boolean;
  readonly lives: number;
}

/** Time-outs are looked at this often, all with one timer, and only while something runs. */
export const WATCH_MS = 100;
/**
 * An executor that has not returned after so many looks at it is given up: STOP_MS for manners, as much again for force, and
 * some. Looks and not time, because after a machine's sleep the executor needs its own time as well.
 */
const ABANDON_LOOKS = (3 * STOP_MS) / WATCH_MS;
/** A result that does not fit in a message is stored as a blob; so often, with this pause, about five minutes. */
const BLOB_TRIES_MAX = 60;
const BLOB_PAUSE_MS = 5_000;
/** Chunks of an earlier life have lower numbers than this times its count. */
const CHUNKS_PER_LIFE = 1_000_000;

export class Attempt implements Execution {
  readonly offer: Offer;
  readonly executor: Executor;
  readonly resumed: boolean;
  readonly startedAt: number;
  hasActed: boolean;
  latest: Progress | undefined;
  /** The executor has returned, or was given up. */
  over = false;
  cause: AbortCause | undefined;
  private readonly home: Surroundings;
  private readonly lives: number;
  private readonly startedMs: number;
  private signAtMs: number;
  private looksSinceAbort = 0;
  private controller: AbortController | undefined;
  private folderMade: string | undefined;
  private printing: Output | undefined;

  constructor(home: Surroundings, offer: Offer, executor: Executor, earlier?: EarlierLife) {
    this.home = home;
    this.offer = offer;
    this.executor = executor;
    this.resumed = earlier !== undefined;
    this.startedAt = earlier?.startedAt ?? home.clock.wall();
    this.hasActed = earlier?.acted ?? false;
    this.lives = earlier?.lives ?? 0;
    this.startedMs = this.signAtMs = home.clock.monotonic();
  }

  start(): void {
    let running: Promise<Outcome>;
    try {
      running = this.executor.run(this.offer.spec, this);
    } catch (error) {
      running = Promise.reject(error);
    }
    running.then(
      (outcome) => this.end(outcome),
      (error: unknown) => {
        this.log.error({ task: this.offer.task, err: error }, "an executor failed");
        this.end(crashed(error));
      },
    );
  }

  get ref(): AttemptRef {
    return { task: this.offer.task, attempt: this.offer.attempt, epoch: this.offer.epoch };
  }

  get cluster(): ClusterId {
    return this.home.cluster;
  }

  get node(): NodeId {
    return this.home.node;
  }

  get log(): Log {
    return this.home.log;
  }

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController();
      if (this.cause !== undefined) this.controller.abort(this.cause);
    }
    return this.controller.signal;
  }

  get folder(): string {
    if (this.folderMade === undefined) {
      this.folderMade = path.join(this.home.folder, `${this.offer.task}.${this.offer.attempt}`);
      this.makeFolder(this.folderMade);
    }
    return this.folderMade;
  }

  output(stream: OutputStream, text: string, data?: Json): Promise<void> {
    this.signAtMs = this.home.clock.monotonic();
    return this.over ? Promise.resolve() : this.openOutput().write(stream, text, data);
  }

  progress(progress: Progress): void {
    if (this.over) return;
    this.signAtMs = this.home.clock.monotonic();
    this.latest = progress;
    this.home.progressed(this);
  }

  acted(): void {
    if (this.hasActed || this.over) return;
    this.hasActed = true;
    this.home.acted(this);
  }

  abort(cause: AbortCause): void {
    if (this.cause !== undefined) return;
    // Also when it is over: a result that waits for the bus stops waiting.
    this.cause = cause;
    if (this.over) return;
    this.controller?.abort(cause);
  }

  /** Looks at the time-outs; called every WATCH_MS. */
  check(now: number): void {
    if (this.over) return;
    const { runMs, idleMs } = this.limits();
    if (this.cause !== undefined) {
      if (++this.looksSinceAbort < ABANDON_LOOKS) return;
      this.log.error(
        { task: this.offer.task, kind: this.offer.spec.kind, cause: this.cause },
        "an executor does not stop; its attempt is given up",
      );
      this.end({ kind: "cancelled" });
    } else if (now - this.startedMs >= runMs) this.abort("run_timeout");
    else if (now - this.signAtMs >= idleMs) this.abort("idle_timeout");
  }

  /** An attempt that gets none has not begun: nothing of its own runs without it. */
  private makeFolder(folder: string): void {
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      if (!isNoRoom(error)) throw error;
      this.home.noRoom();
      throw new ClusterError("disk_full", "The node's disk has no room for the attempt's folder.", { cause: error });
    }
  }

  private limits(): { runMs: number; idleMs: number } {
    const { spec } = this.offer;
    return { runMs: runMsOf(spec), idleMs: idleMsOf(spec) };
  }

  private openOutput(): Output {
    const { bus, clock, log, node } = this.home;
    const { task, attempt, spec } = this.offer;
    const subject = outputOf(node, task, attempt);
    const limitBytes = (spec.kind === "command" ? spec.input.outputBytesMax : undefined) ?? LIMITS.outputBytesMax;
    this.printing ??= new Output({
      ref: this.ref,
      append: (chunk) => bus.append(subject, chunk),
      connected: () => bus.connected,
      leaving: () => this.home.leaving,
      clock,
      log,
      limitBytes,
      first: this.lives * CHUNKS_PER_LIFE,
    });
    return this.printing;
  }

  private end(returned: Outcome): void {
    if (this.over) return;
    this.over = true;
    const endedAt = this.home.clock.wall();
    const runMs = this.home.clock.monotonic() - this.startedMs;
    const weighed = weigh(explained(returned, this.cause, this.limits()));
    const light = this.offer.spec.kind === "echo" && this.printing === undefined && this.folderMade === undefined;
    if (light && weighed.bytes <= LIMITS.resultBytesInlineMax) {
      const finished = this.finish(weighed, endedAt, runMs);
      this.home.finished(this, finished, weighed.bytes);
      this.home.released(this);
    } else {
      void this.windUp(weighed, endedAt, runMs);
    }
  }

  private finish({ outcome }: Weighed, endedAt: number, runMs: number): Finished {
    const { task, attempt, epoch } = this.offer;
    const finished: Finished = { task, attempt, epoch, startedAt: this.startedAt, endedAt, runMs, outcome };
    if (this.hasActed) finished.acted = true;
    this.home.ended(this, finished);
    return finished;
  }

  /** Never rejects. */
  private async windUp(weighed: Weighed, endedAt: number, runMs: number): Promise<void> {
    const final = weighed.bytes <= LIMITS.resultBytesInlineMax ? weighed : weigh(await this.stored(weighed));
    const finished = this.finish(final, endedAt, runMs);
    await this.openOutput().end();
    this.home.finished(this, finished, final.bytes);
    try {
      if (this.folderMade !== undefined) await rm(this.folderMade, { recursive: true, force: true, maxRetries: 3 });
    } catch (error) {
      this.log.warn({ task: this.offer.task, err: error }, "an attempt's folder could not be removed");
    }
    this.home.released(this);
  }

  /** The outcome with its result in a blob. */
  private async stored({ outcome }: Weighed): Promise<Outcome> {
    if (outcome.kind !== "succeeded" || outcome.result === undefined) return outcome;
    const bytes = Buffer.from(JSON.stringify(outcome.result));
    if (bytes.length > LIMITS.resultBytesBlobMax) return tooLarge(bytes.length);
    const { task, attempt } = this.offer;
    const blob = blobName(this.node, task, attempt);
    for (let tried = 1; ; tried++) {
      try {
        await this.home.bus.putBlob(blob, bytes);
        return { kind: "succeeded", blob: { blob, bytes: bytes.length } };
      } catch (error) {
        this.log.warn({ task, tried, err: error }, "a result could not be stored as a blob");
        if (tried === BLOB_TRIES_MAX || this.cause !== undefined) return crashed(error);
        await pause(this.home.clock, BLOB_PAUSE_MS);
      }
    }
  }
}
