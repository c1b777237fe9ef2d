/**
 * The bus's door: a messenger. Whatever it loses, doubles or reorders, the next heartbeat mends; nobody may take a
 * message's arrival as proof of anything but its sender's signature.
 *
 * B1. `publish` never blocks and may lose.
 * B2. `request` ends in an answer or a ClusterError (`bus_timeout`, `bus_unreachable`); a time-out means unknown.
 * B3. Messages of one publisher on one subject arrive in order, if they arrive; but see B6.
 * B4. `append` resolves when the piece is stored; that is the back-pressure on output. What a node writes, output and blobs,
 *     pushes out nothing but what it wrote itself before.
 * B5. Bodies are JSON. A handler gets them parsed but unchecked: the receiver validates with the schema in contract/wire.
 * B6. `deliver` is a `request` for what may be large. It waits for room on the node's line, as output and blobs do, so that
 *     heartbeats, which do not wait, are not held up behind it; the time-out counts for each part of it from its sending.
 *     What is delivered may be overtaken by what was sent later.
 * B7. Messages and answers are sealed (envelopes.ts): a handler gets what its sender has signed, once. What is published to a
 *     party that was not heard yet is said as a request, so that it is not lost for that alone.
 * B8. The coordinator hears no more of a node than its ration (rations.ts); what is beyond it is dropped, and told to listeners.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";

/** One message on the wire; nats-server's own default. */
export const MESSAGE_BYTES_MAX = 1_048_576;
/** A body's JSON; what is beyond it is refused with payload_too_large where it is sent. Leaves room for headers and the seal. */
export const BODY_BYTES_MAX = MESSAGE_BYTES_MAX - 1_024;

/** Kept pieces that `read` may hold, without anybody having asked for them yet. Two read faster than a MiB did, four and more faster still. */
export const READ_AHEAD_PIECES = 2;

export interface Message {
  readonly subject: string;
  readonly body: unknown;
  /** Present on a request. Answering twice, or too late, has no effect. */
  readonly respond?: (body: unknown) => void;
  /** To be called where it was news of work; it then takes nothing of what its node may say (B8). */
  readonly wasNews?: () => void;
}

/** A kept piece of output. */
export interface Kept {
  readonly body: unknown;
}

export interface Subscription {
  stop(): void;
}

/** Why a message was not heard (B7). */
export type Refusal = "unsealed" | "stranger" | "forged" | "other-life" | "replayed" | "misdirected" | "excess";
export type RefusalListener = (party: string, why: Refusal) => void;

export interface ReadOptions {
  /** Go on with new pieces until `signal` aborts or the consumer breaks out; else end at the last piece stored now. */
  readonly follow: boolean;
  readonly signal?: AbortSignal;
}

export interface Bus {
  readonly connected: boolean;
  onStatus(listener: (connected: boolean) => void): Subscription;
  /** Something was refused that claims to come from this party (B7), or that this party may not ask, or that was too much of it (B8). Told for each: the listener sees to a limit. */
  onRefusal(listener: RefusalListener): Subscription;
  publish(subject: string, body: unknown): void;
  request(subject: string, body: unknown, timeoutMs: number): Promise<unknown>;
  deliver(subject: string, body: unknown, timeoutMs: number): Promise<unknown>;
  /** `pattern` may hold NATS wildcards. Handlers run in order of arrival and must not throw. */
  subscribe(pattern: string, handle: (message: Message) => void): Subscription;
  /** Appends one piece of output to the kept stream. */
  append(subject: string, body: unknown): Promise<void>;
  /** What is kept of one attempt's output (`outputOf`), in the order in which it was stored. */
  read(subject: string, options: ReadOptions): AsyncIterable<Kept>;
  /**
   * These nodes have a share each of what is kept, of others nothing new is. Resolves when that is so, or could not be done
   * yet. The coordinator's to call, as are `read` and `getBlob`: a node gets `forbidden`.
   */
  keepFor(nodes: readonly NodeId[]): Promise<void>;
  /** Written once under a name of `blobName` (subjects.ts), and kept for a week at most. A node writes under its own id only. */
  putBlob(name: string, bytes: Uint8Array): Promise<void>;
  /** undefined when there is none of that name. */
  getBlob(name: string): Promise<Uint8Array | undefined>;
  close(): Promise<void>;
}

/** The server behind the bus, where this daemon runs it. */
export interface BusServer {
  readonly url: string;
  readonly version: string;
  /** Replaces the set of nodes that may connect; a removed node's connection is cut. Resolves when the server has taken it. */
  authorize(nodes: readonly { id: NodeId; publicKey: string }[]): Promise<void>;
  /**
   * A node closed its last connection, or its process ended. A hint, tens of milliseconds old: it may be on its way
   * back. Not told of a node that only fell silent.
   */
  onDisconnect?(listener: (node: NodeId) => void): Subscription;
  /** Has the node an open connection, as far as is known? */
  isConnected?(node: NodeId): boolean;
  /** It has refused what a node tried: another's subject, more than a message may hold. */
  onTrespass?(listener: (node: NodeId, what: string) => void): Subscription;
  /** It has refused somebody whose key it does not know, or who showed none. */
  onGuess?(listener: (address: string, key: string | undefined) => void): Subscription;
  stop(): Promise<void>;
}
