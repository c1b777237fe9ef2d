/**
 * The control nodes' progress in etcd: a key of each, on no lease.
 *
 * G1. It says no time. Whoever hears it compares it with when it has heard the log itself, so that no two clocks are compared.
 */
import { z } from "zod";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { ADDRESSES_MAX } from "./control-nodes.ts";
import { PROGRESS_MS, type ControlProgress, type Progress } from "./control-progress.ts";
import { afterPrefix, type EtcdClient } from "./etcd-client.ts";
import { Keys } from "./etcd-keys.ts";
import { transact } from "./etcd-place.ts";

const RETRY_MS = 500;

const Value = z.object({
  node: z.string().max(64),
  version: z.string().max(64),
  apiUrls: z.array(z.string().max(2_048)).max(ADDRESSES_MAX),
  witness: z.literal(true).optional(),
  epoch: z.int(),
  entry: z.int(),
});

export interface ProgressParts {
  readonly client: EtcdClient;
  /** Of this cluster's keys. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Asked each time that it is said anew. */
  self(): Promise<Progress>;
  /** Calls when `self` may say something else. */
  onChange(listener: () => void): () => void;
}

export function openEtcdControlProgress(parts: ProgressParts): ControlProgress {
  return new EtcdControlProgress(parts);
}

class EtcdControlProgress implements ControlProgress {
  private readonly parts: ProgressParts;
  private readonly prefix: string;
  private readonly known = new Map<string, Progress>();
  private readonly listeners = new Set<(progress: Progress) => void>();
  private readonly closed = new AbortController();
  private readonly running: Promise<unknown>;
  private said = "";
  private changed = Promise.withResolvers<void>();

  constructor(parts: ProgressParts) {
    this.parts = parts;
    this.prefix = `${parts.prefix}progress/`;
    const stop = parts.onChange(() => this.changed.resolve());
    this.closed.signal.addEventListener("abort", stop, { once: true });
    this.running = Promise.all([this.forEver(() => this.say()), this.forEver(() => this.follow())]);
  }

  get all(): readonly Progress[] {
    return [...this.known.values()].sort((a, b) => (a.node < b.node ? -1 : 1));
  }

  onProgress(listener: (progress: Progress) => void): { stop(): void } {
    this.listeners.add(listener);
    return { stop: () => this.listeners.delete(listener) };
  }

  async forget(node: string): Promise<void> {
    const { client, prefix, clock, log } = this.parts;
    const place = { client, keys: new Keys(prefix), clock, log };
    await transact(place, { when: [], then: [{ delete: this.prefix + node }] }, { harmless: true });
  }

  async close(): Promise<void> {
    this.closed.abort();
    await this.running;
  }

  private async say(): Promise<void> {
    this.changed = Promise.withResolvers<void>();
    const value = Value.parse(await this.parts.self());
    const text = JSON.stringify(value);
    if (text !== this.said) {
      await this.parts.client.transact({ when: [], then: [{ put: this.prefix + value.node, value: text }] });
      this.said = text;
    }
    await this.pause(PROGRESS_MS);
    await Promise.race([this.changed.promise, aborted(this.closed.signal)]);
  }

  private async follow(): Promise<void> {
    const { signal } = this.closed;
    const { client } = this.parts;
    const { entries, revision } = await client.range({ from: this.prefix, to: afterPrefix(this.prefix) }, { signal });
    this.known.clear();
    for (const { key, value } of entries) this.note(key, value);
    for await (const changes of client.watch(this.prefix, revision + 1, signal))
      for (const { key, value } of changes) this.note(key, value);
  }

  private note(key: string, value: Buffer | undefined): void {
    const progress = value === undefined ? undefined : (Value.safeParse(parsed(value)).data as Progress | undefined);
    if (progress === undefined) return void this.known.delete(key);
    this.known.set(key, progress);
    for (const listener of this.listeners) listener(progress);
  }

  private async forEver(run: () => Promise<void>): Promise<void> {
    const { signal } = this.closed;
    while (!signal.aborted) {
      await run().catch(async (error: unknown) => {
        if (signal.aborted) return;
        this.parts.log.debug({ err: error }, "how far the control nodes are cannot be told at the moment");
        await this.pause(RETRY_MS);
      });
    }
  }

  private pause(ms: number): Promise<void> {
    const { signal } = this.closed;
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const leave = (): void => (timer.cancel(), resolve());
      const timer = this.parts.clock.after(ms, () => (signal.removeEventListener("abort", leave), resolve()));
      signal.addEventListener("abort", leave, { once: true });
    });
  }
}

/** What is no JSON says nothing. */
function parsed(value: Buffer): unknown {
  try {
    return JSON.parse(value.toString());
  } catch {
    return undefined;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener("abort", () => resolve(), { once: true })));
}
