/** A connection that can be cut and healed, as a cable can: the worker's tests and the simulation pull at it. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Bus, Kept, Message, ReadOptions, Subscription } from "../../cluster/src/bus/bus.ts";

export class LooseBus implements Bus {
  connected = true;
  private readonly inner: Bus;
  private readonly listeners = new Set<(connected: boolean) => void>();

  constructor(inner: Bus) {
    this.inner = inner;
  }

  set(connected: boolean): void {
    this.connected = connected;
    for (const listener of this.listeners) listener(connected);
  }

  onStatus(listener: (connected: boolean) => void): Subscription {
    this.listeners.add(listener);
    return { stop: () => void this.listeners.delete(listener) };
  }

  onRefusal(listener: Parameters<Bus["onRefusal"]>[0]): Subscription {
    return this.inner.onRefusal(listener);
  }

  publish(subject: string, body: unknown): void {
    if (this.connected) this.inner.publish(subject, body);
  }

  async request(subject: string, body: unknown, timeoutMs: number): Promise<unknown> {
    this.check();
    return this.inner.request(subject, body, timeoutMs);
  }

  async deliver(subject: string, body: unknown, timeoutMs: number): Promise<unknown> {
    this.check();
    return this.inner.deliver(subject, body, timeoutMs);
  }

  subscribe(pattern: string, handle: (message: Message) => void): Subscription {
    return this.inner.subscribe(pattern, (message) => this.connected && handle(message));
  }

  async append(subject: string, body: unknown): Promise<void> {
    this.check();
    await this.inner.append(subject, body);
  }

  read(subject: string, options: ReadOptions): AsyncIterable<Kept> {
    return this.inner.read(subject, options);
  }

  keepFor(nodes: readonly NodeId[]): Promise<void> {
    return this.inner.keepFor(nodes);
  }

  async putBlob(name: string, bytes: Uint8Array): Promise<void> {
    this.check();
    await this.inner.putBlob(name, bytes);
  }

  getBlob(name: string): Promise<Uint8Array | undefined> {
    return this.inner.getBlob(name);
  }

  close(): Promise<void> {
    return this.inner.close();
  }

  private check(): void {
    if (!this.connected) throw new ClusterError("bus_unreachable", "the cable is cut");
  }
}
