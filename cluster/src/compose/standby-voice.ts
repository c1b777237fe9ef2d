/** How a control node that stands by speaks to nodes: over a connection of its own, for as long as it has something to say. */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { connectNats } from "../bus/nats.ts";
import { controlTo } from "../bus/subjects.ts";
import type { Voice } from "../coordinator/standby-word.ts";
import type { EtcdReader } from "../store/etcd-reader.ts";
import type { Log } from "../system/log.ts";
import { Keyring } from "../trust/keyring.ts";
import { asCoordinator } from "./leading.ts";
import type { Shown } from "./stand.ts";

/** Leases that it is about are over soon. */
const CONNECT_MS = 5_000;

export interface VoiceParts {
  readonly shown: Shown;
  readonly reader: Pick<EtcdReader, "present">;
  readonly log: Log;
  /** Of the bus, this machine's server first. */
  urls(): readonly string[];
}

export async function openVoice({ shown, reader, log, urls }: VoiceParts): Promise<Voice> {
  const keyring = new Keyring();
  keyring.set(reader.present().nodes.filter(({ state }) => state === "approved"));
  const bus = await connectNats({ ...asCoordinator(shown, urls(), keyring), log, firstConnectMs: CONNECT_MS });
  return {
    say: (node, epoch, ms) => bus.publish(controlTo(node), { kind: "pause", epoch, ms }),
    close: () => bus.close(),
  };
}

/** Calls when a node may have come to hold some, until the function that it gives is called. */
export function onLeases(reader: Pick<EtcdReader, "onChange">, listener: () => void): () => void {
  return reader.onChange((heard) => {
    if (heard.kind === "loaded" || [heard.rows.created, heard.rows.changed].some((rows) => rows?.some(({ lease }) => lease !== undefined)))
      listener();
  });
}

/** Nodes that hold leases, as the store was last heard. */
export function* leaseHolders(reader: Pick<EtcdReader, "present">): Generator<NodeId> {
  const told = new Set<NodeId>();
  for (const { lease } of reader.present().live) {
    if (lease === undefined || told.has(lease.node)) continue;
    told.add(lease.node);
    yield lease.node;
  }
}
