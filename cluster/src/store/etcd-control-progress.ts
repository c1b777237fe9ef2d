/**
 * The control nodes' progress in etcd: a key of each, on no lease.
 *
 * G1. It says no time. Whoever hears it compares it with when it has heard the log itself, so that no two clocks are compared.
 */
import { z } from "zod";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { pause } from "../system/pause.ts";
import { ADDRESSES_MAX } from "./control-nodes.ts";
import { PROGRESS_MS, type ControlProgress, type Progress } from "./control-progress.ts";
import type { EtcdClient } from "./etcd-client.ts";
import { FollowedFolder } from "./etcd-folder.ts";
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
  private readonly folder: string;
  private readonly list: FollowedFolder<Progress>;
  private readonly listeners = new Set<(progress: Progress) => void>();
  private readonly closed = new AbortController();
  private readonly saying: Promise<void>;
  private said = "";
  private changed = Promise.withResolvers<void>();

  constructor(parts: ProgressParts) {
    this.parts = parts;
    const { client, clock, log } = parts;
    this.folder = `${parts.prefix}progress/`;
    this.list = new FollowedFolder({
      ...{ client, folder: this.folder, parse: parseProgress, clock, log },
      onValue: (progress) => this.listeners.forEach((listener) => listener(progress)),
    });
    this.saying = this.sayEver(parts.onChange(() => this.changed.resolve()));
  }

  get all(): readonly Progress[] {
    return this.list.all;
  }

  onProgress(listener: (progress: Progress) => void): { stop(): void } {
    this.listeners.add(listener);
    return { stop: () => this.listeners.delete(listener) };
  }

  async forget(node: string): Promise<void> {
    const { client, prefix, clock, log } = this.parts;
    const place = { client, keys: new Keys(prefix), clock, log };
    await transact(place, { when: [], then: [{ delete: this.folder + node }] }, { harmless: true });
  }

  async close(): Promise<void> {
    this.closed.abort();
    this.changed.resolve();
    await Promise.all([this.saying, this.list.close()]);
  }

  private async sayEver(stopHearing: () => void): Promise<void> {
    const { signal } = this.closed;
    const { clock, log } = this.parts;
    while (!signal.aborted) {
      this.changed = Promise.withResolvers<void>();
      try {
        await this.say();
        await pause(clock, PROGRESS_MS, signal);
        await this.changed.promise;
      } catch (error) {
        if (signal.aborted) break;
        log.debug({ err: error }, "how far this control node is cannot be told at the moment");
        await pause(clock, RETRY_MS, signal);
      }
    }
    stopHearing();
  }

  private async say(): Promise<void> {
    const value = Value.parse(await this.parts.self());
    const text = JSON.stringify(value);
    if (text === this.said) return;
    await this.parts.client.transact({ when: [], then: [{ put: this.folder + value.node, value: text }] });
    this.said = text;
  }
}

function parseProgress(json: unknown): Progress | undefined {
  return Value.safeParse(json).data as Progress | undefined;
}
