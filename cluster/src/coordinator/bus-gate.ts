/**
 * Who may come onto the bus: exactly the approved nodes, each with its key, and with its share of what the bus keeps.
 *
 * G1. A change that nats-server did not take is tried again until it has: a node that was shut out must not stay in because
 *     the server stood still for a moment. What is sealed with its key is refused from the first moment, whatever the server knows.
 * G2. What a node has signed with the key that it is exchanging counts until nats-server has taken the other one, and cut it off.
 *     Only for the same stay in the cluster: of one that was taken out and has joined again, the key of before counts for nothing.
 * G3. Changes overlap, as where one waits for nats-server and the next has come. Whom the newest one has shut out comes back by
 *     none of the earlier ones, whenever they end.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Bus, BusServer } from "../bus/bus.ts";
import type { NodeRow } from "../store/store.ts";
import type { Clock, Timer } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import type { Keyring } from "../trust/keyring.ts";
import type { NodeEntry, Registry } from "./registry.ts";

const AGAIN_MS = 5_000;
/** What nats-server says of a connection comes by its log, some time after. */
const SETTLED_MS = 10_000;

interface Parts {
  readonly keyring: Pick<Keyring, "set">;
  readonly bus: Pick<Bus, "keepFor">;
  readonly busServer?: Pick<BusServer, "authorize">;
  readonly clock: Clock;
  readonly log: Log;
}
type KeyHolder = Pick<NodeRow, "id" | "publicKey">;

/** As a change has found it; `entry` is the same for as long as the node stays in the cluster. */
interface Wanted extends KeyHolder {
  readonly entry: NodeEntry;
}

interface LetIn extends Wanted {
  readonly since: number;
}

export class BusGate {
  private readonly parts: Parts;
  private readonly registry: Pick<Registry, "all" | "twins">;
  /** Whom the newest change lets in. */
  private wanted: readonly Wanted[] = [];
  /** Whom nats-server has taken last, and since when. */
  private letIn: ReadonlyMap<NodeId, LetIn> = new Map();
  private changes = 0;
  /** The newest change that nats-server has taken. */
  private taken = 0;
  private again: Timer | undefined;
  private stopped = false;

  constructor(parts: Parts, registry: Pick<Registry, "all" | "twins">) {
    this.parts = parts;
    this.registry = registry;
  }

  /** Throws what nats-server says; it is tried again all the same (G1). */
  async authorize(): Promise<void> {
    const change = ++this.changes;
    const wanted = this.approved();
    this.wanted = wanted;
    this.again?.cancel();
    this.believe();
    const kept = this.parts.bus.keepFor(wanted.map(({ id }) => id));
    try {
      await this.parts.busServer?.authorize(wanted.map(({ id, publicKey }) => ({ id, publicKey })));
    } catch (error) {
      this.tryAgain();
      throw error;
    }
    await kept;
    if (change < this.taken) return;
    this.taken = change;
    const now = this.parts.clock.monotonic();
    this.letIn = new Map(wanted.map((node) => [node.id, { ...node, since: this.letInAs(node)?.since ?? now }]));
    this.believe();
  }

  /** Makes good at once what failed when the node was approved. */
  async ensureLetIn(node: KeyHolder): Promise<void> {
    if (this.letInAs(node) === undefined) await this.authorize();
  }

  /** It would have come in with its own signature. */
  isSettled(node: KeyHolder): boolean {
    const known = this.letInAs(node);
    return known !== undefined && this.parts.clock.monotonic() - known.since > SETTLED_MS;
  }

  stop(): void {
    this.stopped = true;
    this.again?.cancel();
  }

  /** A key that two nodes had would have nats-server refuse all of them (N1 in registry.ts). */
  private approved(): Wanted[] {
    const twins = this.registry.twins();
    return [...this.registry.all()]
      .filter(({ row }) => row.state === "approved" && !twins.has(row.id))
      .map((entry) => ({ id: entry.row.id, publicKey: entry.row.publicKey, entry }));
  }

  /** G2, G3. */
  private believe(): void {
    const keyOf = ({ id, publicKey, entry }: Wanted): string => {
      const known = this.letIn.get(id);
      return known?.entry === entry ? known.publicKey : publicKey;
    };
    this.parts.keyring.set(this.wanted.map((node) => ({ id: node.id, publicKey: keyOf(node) })));
  }

  /** With that very key. */
  private letInAs({ id, publicKey }: KeyHolder): LetIn | undefined {
    const known = this.letIn.get(id);
    return known?.publicKey === publicKey ? known : undefined;
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
