/**
 * Which machines are control nodes, whether they are up or not: one enters itself when it becomes one, and stays until somebody takes
 * it out. Who is up now is control-nodes.ts's.
 */
export interface ControlSeat {
  readonly node: string;
  /** How the bus's servers know its own, and where they call it. */
  readonly route: { readonly serverName: string; readonly host: string; readonly port: number };
  /** Hexadecimal; of the member of the cluster's own etcd that it runs. */
  readonly etcdMember?: string;
  /** It keeps a vote and a messenger, and neither leads nor answers. */
  readonly witness?: true;
}

/** More only make each commit slower. */
export const SEATS_MAX = 7;

export interface ControlSeats {
  /** As last heard, by node. */
  readonly all: readonly ControlSeat[];
  /** Resolves when the list was read once. */
  heard(): Promise<void>;
  onChange(listener: () => void): { stop(): void };
  /** Enters it, or changes what stands there of this node. */
  take(seat: ControlSeat): Promise<void>;
  remove(node: string): Promise<void>;
  close(): Promise<void>;
}
