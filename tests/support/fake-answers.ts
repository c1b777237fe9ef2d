/** What the coordinator of the API's tests says of itself. */
import type { ClusterView } from "@openclaw-cluster/contract/cluster";
import type { ClusterId, NodeId } from "@openclaw-cluster/contract/ids";
import type { Node } from "@openclaw-cluster/contract/node";
import type { Explanation } from "@openclaw-cluster/contract/placement";
import { fingerprintOf } from "../../cluster/src/trust/fingerprint.ts";
import { keyFor } from "./fake-keys.ts";

export const NODE = "studio" as NodeId;
export const STARTED_AT = 1_700_000_000_000;

export const SAMPLE_NODE: Node = {
  id: NODE,
  state: "ready",
  fingerprint: fingerprintOf(keyFor(NODE)),
  draining: false,
  labels: { room: "office" },
  slots: 4,
  slotsUsed: 1,
  memoryReservedMiB: 0,
  registeredAt: STARTED_AT,
  succeeded: 3,
  failed: 1,
  load: { cpu: 0.25, memoryFreeMiB: 1, diskFreeMiB: 1, running: 1, held: 1 },
  facts: {
    hostname: "studio.local",
    os: "darwin",
    arch: "arm64",
    cpus: 8,
    memoryMiB: 16_384,
    diskFreeMiB: 100_000,
    version: "0.1.0",
    nodeVersion: "v26.10.0",
    kinds: ["echo", "agent"],
    skills: [
      { name: "summarize", eligible: true },
      { name: "weather", eligible: false, missing: ["WEATHER_KEY"] },
    ],
    policy: { kinds: ["echo", "agent"] },
    labels: {},
    slots: 4,
  },
};

export const SAMPLE_CLUSTER: ClusterView = {
  id: "abcd1234" as ClusterId,
  name: "home",
  version: "0.1.0",
  epoch: 1,
  startedAt: STARTED_AT,
  coordinator: NODE,
  nodes: { ready: 1 },
  tasks: {},
  slots: 4,
  slotsUsed: 1,
  store: { kind: "ram", bytes: 10 },
  bus: { connected: true, version: "2.15.1" },
};

export const EXPLANATION: Explanation = {
  sentence: "It would run on studio.",
  strategy: "balanced",
  node: NODE,
  candidates: [{ node: NODE, score: 1, terms: { room: 1 } }],
  refused: [],
  at: STARTED_AT,
};
