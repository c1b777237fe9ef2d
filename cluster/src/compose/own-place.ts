/** The own nodes of the control nodes, this one's among them: whoever leads lets them in, and the others read in the store that it has. */
import type { Enrolled } from "@openclaw-cluster/contract/operations";
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { Coordinator } from "../coordinator/coordinator.ts";
import type { ControlNodes } from "../store/control-nodes.ts";
import type { EtcdReader } from "../store/etcd-reader.ts";
import type { BusWay } from "./bus-way.ts";
import type { Log } from "../system/log.ts";

export interface OwnPlaceParts {
  readonly node: NodeId;
  readonly reader: EtcdReader;
  readonly coordinatorKey: string;
  readonly log: Log;
  readonly way: Pick<BusWay, "forOwnNode" | "onChange">;
  /** Resolves when this machine's nats-server knows everybody who is in. */
  told(): Promise<void>;
}

export class OwnPlace {
  private readonly parts: OwnPlaceParts;
  private coordinator: Coordinator | undefined;
  private listening: { stop(): void } | undefined;
  private readonly waiting = new Set<() => void>();

  constructor(parts: OwnPlaceParts) {
    this.parts = parts;
    parts.reader.onChange(() => this.look());
    parts.way.onChange(
      () => parts.way.forOwnNode(),
      () => this.look(),
    );
  }

  /** From now on this machine's coordinator lets them in. */
  leads(coordinator: Coordinator, controlNodes: ControlNodes): void {
    this.coordinator = coordinator;
    const letIn = (): void => {
      for (const { node, publicKey } of controlNodes.all) {
        if (publicKey === undefined || this.isIn(node, publicKey)) continue;
        coordinator.enrol({ id: NodeId.parse(node), publicKey }).catch((error: unknown) => {
          this.parts.log.warn({ err: error, node }, "a control node's own node was not let in");
        });
      }
    };
    this.listening = controlNodes.onChange(letIn);
    letIn();
    this.look();
  }

  left(): void {
    this.listening?.stop();
    this.coordinator = undefined;
  }

  /** Resolves when this machine's node is in, by whoever leads. */
  async enrol(publicKey: string): Promise<Enrolled> {
    const { node, reader, coordinatorKey, way, told } = this.parts;
    for (;;) {
      // Before the looks: what changes between them counts too.
      const changed = new Promise<void>((resolve) => this.waiting.add(resolve));
      if (this.coordinator !== undefined) return this.coordinator.enrol({ id: node, publicKey });
      const claim = this.isIn(node, publicKey) ? await reader.claimed() : undefined;
      await told();
      const busUrls = [...way.forOwnNode()];
      if (claim !== undefined && busUrls.length > 0) return { node, ...claim, coordinatorKey, busUrls };
      await changed;
    }
  }

  private isIn(node: string, publicKey: string): boolean {
    return this.parts.reader.present().nodes.some((row) => row.id === node && row.publicKey === publicKey && row.state === "approved");
  }

  private look(): void {
    for (const resolve of this.waiting) resolve();
    this.waiting.clear();
  }
}
