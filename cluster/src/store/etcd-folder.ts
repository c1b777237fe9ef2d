/**
 * What lies under one prefix of etcd, as a map that follows it: for lists that are short and read often.
 *
 * F1. A watch that breaks off begins anew with everything that is there, so nothing that went meanwhile stays.
 * F2. A value that is not understood, of a newer version perhaps, counts as absent.
 * F3. Without a quorum it is what the member that is asked knows.
 */
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { pause } from "../system/pause.ts";
import { afterPrefix, EtcdFault, type EtcdClient } from "./etcd-client.ts";
import { jsonOf } from "../system/json-of.ts";

export interface FolderParts<T> {
  readonly client: EtcdClient;
  /** With a / at its end. */
  readonly folder: string;
  /** undefined: not understood. */
  parse(json: unknown): T | undefined;
  /** Called with each value as it is heard. */
  onValue?(value: T): void;
  readonly clock: Clock;
  readonly log: Log;
}

const RETRY_MS = 500;

export class FollowedFolder<T> {
  private readonly parts: FolderParts<T>;
  private readonly known = new Map<string, T>();
  private readonly listeners = new Set<() => void>();
  private readonly closed = new AbortController();
  private readonly following: Promise<void>;
  private readonly first = Promise.withResolvers<void>();

  constructor(parts: FolderParts<T>) {
    this.parts = parts;
    this.following = this.follow();
  }

  /** As last heard, in the order of the keys. */
  get all(): readonly T[] {
    return [...this.known].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
  }

  /** Resolves when it was read once, or closed. */
  heard(): Promise<void> {
    return this.first.promise;
  }

  onChange(listener: () => void): { stop(): void } {
    this.listeners.add(listener);
    return { stop: () => this.listeners.delete(listener) };
  }

  async close(): Promise<void> {
    this.closed.abort();
    await this.following;
    this.first.resolve();
  }

  private async follow(): Promise<void> {
    const { signal } = this.closed;
    const { folder, clock, log } = this.parts;
    while (!signal.aborted) {
      await this.followOnce().catch((error: unknown) => {
        if (!signal.aborted) log.debug({ err: error, folder }, "a list in etcd cannot be followed at the moment");
      });
      await pause(clock, RETRY_MS, signal);
    }
  }

  private async followOnce(): Promise<void> {
    const { signal } = this.closed;
    const { client, folder } = this.parts;
    const range = { from: folder, to: afterPrefix(folder) };
    const { entries, revision } = await client.range(range, { signal }).catch((error: unknown) => {
      // F3
      if (!(error instanceof EtcdFault) || !error.passes) throw error;
      return client.range({ ...range, local: true }, { signal });
    });
    this.known.clear();
    for (const { key, value } of entries) this.note(key, value);
    this.first.resolve();
    this.tell();
    for await (const changes of client.watch(folder, revision + 1, signal)) {
      for (const { key, value } of changes) this.note(key, value);
      this.tell();
    }
  }

  private note(key: string, value: Buffer | undefined): void {
    const read = value === undefined ? undefined : this.parts.parse(jsonOf(value));
    if (read === undefined) return void this.known.delete(key);
    this.known.set(key, read);
    this.parts.onValue?.(read);
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }
}
