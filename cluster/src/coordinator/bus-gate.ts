/**
 * Who may come onto the bus: exactly the approved nodes, each with its key, and with its share of what the bus keeps.
 *
 * G1. A change that nats-server did not take is tried again until it has: a node that was shut out must not stay in because
 *     the server stood still for a moment. What is sealed with its key is refused from the first moment, whatever the server knows.
 * G2. What a node has signed with the key that it is exchanging counts until nats-server has taken the other one, and cut it off.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { NodeRow } from "../store/store.ts";
import type { Timer } from "../system/clock.ts";
import type { LeadParts } from "./lead-parts.ts";
import type { Registry } from "./registry.ts";

const AGAIN_MS = 5_000;
/** What nats-server says of a connection comes by its log, some time after. */
const SETTLED_MS = 10_000;

type Parts = Pick<LeadParts, "keyring" | "bus" | "busServer" | "clock" | "log">;
type KeyHolder = Pick<NodeRow, "id" | "publicKey">;

export class BusGate {
  private readonly parts: Parts;
  private readonly registry: Pick<Registry, "all">;
  /** Whom nats-server has taken last, and since when. */
  private letIn: ReadonlyMap<NodeId, { readonly publicKey: string; readonly since: number }> = new Map();
  private again: Timer | undefined;
  private stopped = false;

  constructor(parts: Parts, registry: Pick<Registry, "all">) {
    this.parts = parts;
    this.registry = registry;
  }

  /** Throws what nats-server says; it is tried again all the same (G1). */
  async authorize(): Promise<void> {
    const approved = [...this.registry.all()]
      .filter(({ row }) => row.state === "approved")
      .map(({ row }) => ({ id: row.id, publicKey: row.publicKey }));
    const { keyring, bus, busServer, clock } = this.parts;
    this.again?.cancel();
    // G2
    keyring.set(approved.map(({ id, publicKey }) => ({ id, publicKey: this.letIn.get(id)?.publicKey ?? publicKey })));
    const kept = bus.keepFor(approved.map(({ id }) => id));
    try {
      await busServer?.authorize(approved);
    } catch (error) {
      this.tryAgain();
      throw error;
    }
    keyring.set(approved);
    await kept;
    const now = clock.monotonic();
    const since = (node: KeyHolder): number => (this.isLetIn(node) ? (this.letIn.get(node.id)?.since ?? now) : now);
    this.letIn = new Map(approved.map((node) => [node.id, { publicKey: node.publicKey, since: since(node) }]));
  }

  /** Makes good at once what failed when the node was approved. */
  async ensureLetIn(node: KeyHolder): Promise<void> {
    if (!this.isLetIn(node)) await this.authorize();
  }

  /** It would have come in with its own signature. */
  isSettled(node: KeyHolder): boolean {
    const known = this.letIn.get(node.id);
    return this.isLetIn(node) && known !== undefined && this.parts.clock.monotonic() - known.since > SETTLED_MS;
  }

  stop(): void {
    this.stopped = true;
    this.again?.cancel();
  }

  private isLetIn({ id, publicKey }: KeyHolder): boolean {
    return this.letIn.get(id)?.publicKey === publicKey;
  }

  private tryAgain(): void {
    if (this.stopped) return;
    this.again?.cancel();
    this.again = this.parts.clock.after(AGAIN_MS, () => {
      this.authorize().catch((error: unknown) =>
        this.parts.log.warn({ err: error }, "nats-server does not take who may connect; tried again"),
      );
    });
  }
}
