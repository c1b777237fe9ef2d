/**
 * What this control node knows of high availability, put together for whoever asks: the list of control nodes, how far each is, etcd's
 * members, the bus's servers.
 *
 * V1. It is never waited for longer than its parts' own limits, and asked once for all who ask at a time: a caller cannot make it
 *     ask etcd as often as it likes.
 * V2. Whoever was a control node and is not there is away, until it is taken out (`forget`).
 */
import type { ControlNode, StoreMember } from "@openclaw-cluster/contract/cluster";
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { NatsServer } from "../bus/nats-server.ts";
import type { ControlView, ControlWatch } from "../coordinator/control-view.ts";
import type { ControlNodes } from "../store/control-nodes.ts";
import type { ControlProgress } from "../store/control-progress.ts";
import type { EtcdClient } from "../store/etcd-client.ts";
import { openEtcdControlProgress } from "../store/etcd-control-progress.ts";
import type { EtcdReader } from "../store/etcd-reader.ts";
import { seeStoreMembers } from "../store/etcd-roll.ts";
import type { Leadership } from "../store/leadership.ts";
import type { Clock, Timer } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { ControlLag } from "./control-lag.ts";
import { problemsIn } from "./control-problems.ts";

const LOOK_MS = 5_000;
/** An answer is good for all who ask within this. */
const FRESH_MS = 500;

export interface ControlViewParts {
  readonly node: string;
  readonly version: string;
  readonly client: EtcdClient;
  readonly prefix: string;
  /** Where the settings say that etcd is. */
  readonly endpoints: readonly string[];
  readonly reader: EtcdReader;
  readonly leadership: Pick<Leadership<never>, "leader" | "onLeader">;
  readonly controlNodes: Pick<ControlNodes, "all">;
  readonly server: Pick<NatsServer, "servers">;
  /** Does this machine? Without a quorum etcd goes on naming one that had to leave the lead. Unless said, what etcd names. */
  leads?(): boolean;
  /** Who is a control node, there or not; unless said, whoever has ever told how far it is. */
  seated?(): readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  apiUrls(): readonly string[];
}

export interface ControlViews extends ControlWatch {
  /** Where the API of each control node is, or was: those that are away come back there. */
  places(): readonly (readonly string[])[];
  /** It is a control node no more. */
  forget(node: string): Promise<void>;
  close(): Promise<void>;
}

export function openControlView(parts: ControlViewParts): ControlViews {
  return new Views(parts);
}

class Views implements ControlViews {
  private readonly parts: ControlViewParts;
  private readonly progress: ControlProgress;
  private readonly lag = new ControlLag();
  private readonly listening: readonly (() => void)[];
  private looking: { readonly at: number; readonly view: Promise<ControlView> } | undefined;
  private last: ControlView | undefined;
  private timer: Timer | undefined;
  private isClosed = false;

  constructor(parts: ControlViewParts) {
    this.parts = parts;
    const { reader, leadership, clock } = parts;
    const wrote = (): void => this.lag.wrote(reader.lag().entry, clock.monotonic());
    this.progress = openEtcdControlProgress({
      ...parts,
      self: async () => ({
        ...{ node: parts.node, version: parts.version, apiUrls: parts.apiUrls() },
        ...{ epoch: (await reader.claimed())?.epoch ?? 0, entry: reader.lag().entry },
      }),
      onChange: (listener) => {
        const [unread, leading] = [reader.onChange(listener), leadership.onLeader(listener)];
        return () => (unread(), leading.stop());
      },
    });
    const hearing = this.progress.onProgress(({ node, entry }) => this.lag.said(node, entry, clock.monotonic()));
    this.listening = [reader.onChange(wrote), () => hearing.stop()];
    wrote();
    this.lookAgain();
  }

  view(): Promise<ControlView> {
    const now = this.parts.clock.monotonic();
    if (this.looking === undefined || now - this.looking.at > FRESH_MS) this.looking = { at: now, view: this.look() };
    return this.looking.view;
  }

  problems(): readonly string[] {
    return this.last === undefined ? [] : problemsIn({ ...this.last, nodes: this.nodes(this.last.staleMs) });
  }

  places(): readonly (readonly string[])[] {
    const { controlNodes, seated } = this.parts;
    const here = new Set(controlNodes.all.map(({ node }) => node));
    const seats = seated?.();
    const away = this.progress.all.filter(({ node }) => !here.has(node) && seats?.includes(node) !== false);
    return [...controlNodes.all, ...away].map(({ apiUrls }) => apiUrls);
  }

  forget(node: string): Promise<void> {
    return this.progress.forget(node);
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.timer?.cancel();
    for (const stop of this.listening) stop();
    await this.progress.close();
  }

  private lookAgain(): void {
    this.view()
      .catch((error: unknown) => this.parts.log.debug({ err: error }, "how the control nodes are cannot be seen at the moment"))
      .finally(() => {
        if (!this.isClosed) this.timer = this.parts.clock.after(LOOK_MS, () => this.lookAgain());
      });
  }

  private async look(): Promise<ControlView> {
    const { client, endpoints, server, reader, node } = this.parts;
    const [members, bus, staleMs] = await Promise.all([
      seeStoreMembers(client, endpoints),
      server.servers(),
      this.isLeader(node) ? undefined : reader.staleMs(),
    ]);
    const about: { members?: readonly StoreMember[] } = members === undefined ? {} : { members };
    return (this.last = { nodes: this.nodes(staleMs), ...about, bus, ...(staleMs !== undefined && { staleMs }) });
  }

  private isLeader(name: string): boolean {
    const { leadership, node, leads } = this.parts;
    return leadership.leader?.node === name && (name !== node || leads?.() !== false);
  }

  private nodes(staleMs: number | undefined): ControlNode[] {
    const { controlNodes, node: self, clock } = this.parts;
    const present = new Map(controlNodes.all.map((one) => [one.node, one]));
    // While this one is not in the list itself, it is not known who is away: etcd was not heard yet, or this one has just come back.
    if (!present.has(self)) return [];
    const told = new Map(this.progress.all.map((one) => [one.node, one]));
    const all = this.parts.seated?.() ?? told.keys();
    return [...new Set([...present.keys(), ...all])].sort().flatMap((name) => {
      const [here, said] = [present.get(name), told.get(name)];
      const one = here ?? said;
      if (one === undefined) return [];
      const isLeader = this.isLeader(name);
      const lagMs = isLeader ? undefined : name === self ? staleMs : this.lag.of(name, clock.monotonic());
      return {
        node: NodeId.parse(name),
        state: isLeader ? "leader" : here === undefined ? "away" : one.witness ? "witness" : "standby",
        version: one.version,
        urls: [...one.apiUrls],
        ...(said !== undefined && { epoch: said.epoch }),
        ...(lagMs !== undefined && { lagMs: Math.round(lagMs) }),
      } as const;
    });
  }
}
