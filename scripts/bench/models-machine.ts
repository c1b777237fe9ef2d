/**
 * A machine with a model server like Ollama's, in made-up time: models are loaded when they are asked for, the one not used
 * for longest is put away when there is no room, and never one that is at work; each slot keeps the last prompt it read.
 * Requests on one machine slow each other down. What needs a load holds up what comes behind it, as it does there.
 */
import { MODELS, type MachineSpec, type TracedModel } from "./model-trace.ts";

export interface Request {
  readonly id: string;
  readonly conversation: string;
  readonly user: string;
  readonly model: string;
  readonly promptTokens: number;
  readonly answerTokens: number;
  /** Of blocks of the prompt, each standing for all before it too. */
  readonly hashes: readonly string[];
  readonly arrivedMs: number;
}

interface Slot {
  cached: readonly string[];
  busy: boolean;
  usedMs: number;
}

interface Runner {
  readonly model: TracedModel;
  /** Loaded at. */
  readyMs: number;
  readonly queue: Request[];
  readonly slots: Slot[];
  usedMs: number;
}

interface Job {
  readonly request: Request;
  readonly slot: Slot;
  readonly runner: Runner;
  phase: "read" | "write";
  /** Milliseconds, if it were alone. */
  leftMs: number;
}

/** How much slower for each other request on the machine; the router guesses another figure. */
const CROWDING = 0.4;
const LOAD_BASE_MS = 1_500;

export class Machine {
  coldLoads = 0;
  answered = 0;
  busyMs = 0;
  readonly runners = new Map<string, Runner>();
  private readonly pending: Request[] = [];
  private readonly jobs: Job[] = [];
  private nowMs = 0;
  readonly spec: MachineSpec;
  private readonly onFirstToken: (request: Request, now: number) => void;
  private readonly onEnd: (request: Request, now: number) => void;

  constructor(spec: MachineSpec, onFirstToken: Machine["onFirstToken"], onEnd: Machine["onEnd"]) {
    this.spec = spec;
    this.onFirstToken = onFirstToken;
    this.onEnd = onEnd;
  }

  ask(request: Request, now: number): void {
    this.advance(now);
    this.pending.push(request);
    this.admit();
  }

  /** When something happens here by itself. */
  nextMs(): number {
    let next = Infinity;
    for (const { leftMs } of this.jobs) next = Math.min(next, this.nowMs + leftMs * this.slowness());
    for (const { readyMs } of this.runners.values()) if (readyMs > this.nowMs) next = Math.min(next, readyMs);
    return next;
  }

  /** Up to `now`, which is not behind nextMs(). */
  advance(now: number): void {
    const passed = (now - this.nowMs) / this.slowness();
    if (this.jobs.length > 0) this.busyMs += now - this.nowMs;
    this.nowMs = now;
    for (const job of this.jobs) job.leftMs -= passed;
    for (const job of this.jobs.filter(({ leftMs }) => leftMs < 1e-6)) this.finishPhase(job);
    this.admit();
  }

  stateOf(model: string): "loaded" | "loading" | "cold" {
    const runner = this.runners.get(model);
    return runner === undefined ? "cold" : runner.readyMs <= this.nowMs ? "loaded" : "loading";
  }

  busy(model: string): number {
    return this.jobs.filter(({ request }) => request.model === model).length;
  }

  private slowness(): number {
    return 1 + CROWDING * Math.max(0, this.jobs.length - 1);
  }

  private finishPhase(job: Job): void {
    const { request, slot, runner } = job;
    if (job.phase === "read") {
      job.phase = "write";
      job.leftMs = (request.answerTokens * runner.model.bytes * 1_000) / this.spec.memoryBytesPerS;
      this.onFirstToken(request, this.nowMs);
      return;
    }
    this.jobs.splice(this.jobs.indexOf(job), 1);
    slot.busy = false;
    runner.usedMs = this.nowMs;
    this.answered++;
    this.onEnd(request, this.nowMs);
  }

  private admit(): void {
    for (let request = this.pending[0]; request !== undefined; request = this.pending[0]) {
      const runner = this.runners.get(request.model) ?? this.load(request.model);
      if (runner === undefined) break;
      runner.queue.push(request);
      this.pending.shift();
    }
    for (const runner of this.runners.values()) if (runner.readyMs <= this.nowMs) this.begin(runner);
  }

  private begin(runner: Runner): void {
    for (let request = runner.queue[0]; request !== undefined; request = runner.queue[0]) {
      const { hashes, promptTokens } = request;
      const free = runner.slots.filter(({ busy }) => !busy);
      const slot = free.toSorted((a, b) => sameBlocks(b.cached, hashes) - sameBlocks(a.cached, hashes) || a.usedMs - b.usedMs)[0];
      if (slot === undefined) return;
      runner.queue.shift();
      const share = hashes.length === 0 ? 0 : sameBlocks(slot.cached, hashes) / (hashes.length + 1);
      Object.assign(slot, { cached: hashes, busy: true, usedMs: this.nowMs });
      const leftMs = (promptTokens * (1 - share) * 2 * runner.model.weights * 1_000) / this.spec.operationsPerS;
      this.jobs.push({ request, slot, runner, phase: "read", leftMs });
    }
  }

  private load(id: string): Runner | undefined {
    const model = MODELS.find((one) => one.id === id) as TracedModel;
    const isIdle = ({ readyMs, queue, slots }: Runner): boolean =>
      readyMs <= this.nowMs && queue.length === 0 && slots.every(({ busy }) => !busy);
    for (;;) {
      const taken = [...this.runners.values()].reduce((sum, runner) => sum + runner.model.bytes, 0);
      if (taken + model.bytes <= this.spec.memoryBytes) break;
      const oldest = [...this.runners.values()].filter(isIdle).toSorted((a, b) => a.usedMs - b.usedMs)[0];
      if (oldest === undefined) return undefined;
      this.runners.delete(oldest.model.id);
    }
    this.coldLoads++;
    const readyMs = this.nowMs + LOAD_BASE_MS + (model.bytes / this.spec.loadBytesPerS) * 1_000;
    const slots = Array.from({ length: this.spec.slots }, () => ({ cached: [], busy: false, usedMs: 0 }));
    const runner: Runner = { model, readyMs, queue: [], slots, usedMs: readyMs };
    this.runners.set(id, runner);
    return runner;
  }
}

function sameBlocks(a: readonly string[], b: readonly string[]): number {
  let at = 0;
  while (at < a.length && at < b.length && a[at] === b[at]) at++;
  return at;
}
