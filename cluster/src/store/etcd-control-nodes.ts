/** The list of control nodes in etcd: a key of each, which hangs on a lease of its own. */
import { z } from "zod";
import { ADDRESSES_MAX, PRESENCE_S, type ControlNode, type ControlNodes } from "./control-nodes.ts";
import { afterPrefix } from "./etcd-client.ts";
import { EtcdLease, type LeaseParts } from "./etcd-lease.ts";

const RETRY_MS = 500;
const Urls = z.array(z.string().max(2_048)).max(ADDRESSES_MAX);
const Value = z.object({
  node: z.string().max(64),
  publicKey: z.string().max(128).optional(),
  version: z.string().max(64),
  apiUrls: Urls,
  busUrls: Urls,
  routeUrls: Urls,
  witness: z.literal(true).optional(),
});

/** `self` is asked each time that it is announced anew. */
export function openEtcdControlNodes(parts: LeaseParts & { readonly prefix: string; self(): ControlNode }): ControlNodes {
  return new EtcdControlNodes(parts);
}

class EtcdControlNodes implements ControlNodes {
  private readonly parts: LeaseParts & { readonly prefix: string; self(): ControlNode };
  private readonly prefix: string;
  private readonly known = new Map<string, ControlNode>();
  private readonly listeners = new Set<() => void>();
  private readonly closed = new AbortController();
  private readonly running: Promise<unknown>;

  constructor(parts: LeaseParts & { readonly prefix: string; self(): ControlNode }) {
    this.parts = parts;
    this.prefix = `${parts.prefix}control/`;
    this.running = Promise.all([this.forEver(() => this.announce()), this.forEver(() => this.follow())]);
  }

  get all(): readonly ControlNode[] {
    return [...this.known.values()].sort((a, b) => (a.node < b.node ? -1 : 1));
  }

  onChange(listener: () => void): { stop(): void } {
    this.listeners.add(listener);
    return { stop: () => this.listeners.delete(listener) };
  }

  async close(): Promise<void> {
    this.closed.abort();
    await this.running;
  }

  /** Ends with the lease that it is announced by. */
  private async announce(): Promise<void> {
    const { client, self } = this.parts;
    const lease = await EtcdLease.open(this.parts, PRESENCE_S);
    try {
      const value = Value.parse(self()) as ControlNode;
      await client.transact({ when: [], then: [{ put: this.prefix + value.node, value: JSON.stringify(value), lease: lease.id }] });
      await aborted(AbortSignal.any([lease.over, this.closed.signal]));
    } finally {
      await lease.revoke();
    }
  }

  private async follow(): Promise<void> {
    const { signal } = this.closed;
    const { client } = this.parts;
    const { entries, revision } = await client.range({ from: this.prefix, to: afterPrefix(this.prefix) }, { signal });
    this.known.clear();
    for (const { key, value } of entries) this.note(key, value);
    this.tell();
    for await (const changes of client.watch(this.prefix, revision + 1, signal)) {
      for (const { key, value } of changes) this.note(key, value);
      this.tell();
    }
  }

  private note(key: string, value: Buffer | undefined): void {
    const node = value === undefined ? undefined : (Value.safeParse(JSON.parse(value.toString())).data as ControlNode | undefined);
    if (node === undefined) this.known.delete(key);
    else this.known.set(key, node);
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }

  private async forEver(run: () => Promise<void>): Promise<void> {
    const { signal } = this.closed;
    while (!signal.aborted) {
      await run().catch((error: unknown) => {
        if (!signal.aborted) this.parts.log.debug({ err: error }, "the list of control nodes cannot be kept at the moment");
      });
      if (!signal.aborted)
        await Promise.race([new Promise<void>((resolve) => void this.parts.clock.after(RETRY_MS, resolve)), aborted(signal)]);
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener("abort", () => resolve(), { once: true })));
}
