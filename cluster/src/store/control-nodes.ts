/** The control nodes that are there: each tells the others where it is, for as long as it lives. */
export interface ControlNode {
  readonly node: string;
  /** By which the cluster may know its node; the leader lets that in, since whoever writes here has the coordinator's own key. */
  readonly publicKey?: string;
  readonly version: string;
  /** Where its API is, likeliest first; at most ADDRESSES_MAX, as below. */
  readonly apiUrls: readonly string[];
  /** Its nats-server, for nodes. */
  readonly busUrls: readonly string[];
  /** It keeps a vote and a messenger, and neither leads nor answers. */
  readonly witness?: true;
}

export const ADDRESSES_MAX = 8;
/** One that is dead is gone from the list after this. Nothing is decided by it. */
export const PRESENCE_S = 10;

export interface ControlNodes {
  /** As last heard, by node, this one included. */
  readonly all: readonly ControlNode[];
  onChange(listener: () => void): { stop(): void };
  /** Takes this one out of the list. */
  close(): Promise<void>;
}
