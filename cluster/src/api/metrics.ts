/** GET /metrics: the cluster's state; that of models is model-metrics.ts. */
import type { ClusterView } from "@openclaw-cluster/contract/cluster";
import type { Node } from "@openclaw-cluster/contract/node";
import { counted, metric, one, type Sample } from "./prometheus.ts";

export function metrics(cluster: ClusterView, nodes: readonly Node[]): string {
  const { rss } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  const live = nodes.filter(({ load }) => load !== undefined);
  return [
    metric("info", "gauge", "Version and kind of this cluster.", [
      [{ cluster: cluster.id, version: cluster.version, store: cluster.store.kind }, 1],
    ]),
    metric("start_time_seconds", "gauge", "When this coordinator began to lead.", one(cluster.startedAt / 1_000)),
    metric("epoch", "counter", "The coordinator's term.", one(cluster.epoch)),
    metric("bus_connected", "gauge", "1 while the bus is connected.", one(Number(cluster.bus.connected))),
    metric("store_bytes", "gauge", "Bytes of the store on disk.", cluster.store.bytes === undefined ? [] : one(cluster.store.bytes)),
    metric("tasks", "gauge", "Tasks in each state.", counted("state", cluster.tasks)),
    metric("nodes", "gauge", "Nodes in each state.", counted("state", cluster.nodes)),
    metric(
      "node_slots",
      "gauge",
      "Slots of a node.",
      nodes.map(({ id, slots }) => [{ node: id }, slots]),
    ),
    metric(
      "node_slots_used",
      "gauge",
      "Slots of a node that are taken.",
      nodes.map(({ id, slotsUsed }) => [{ node: id }, slotsUsed]),
    ),
    metric(
      "node_cpu_ratio",
      "gauge",
      "Share of a node's cores that is busy.",
      live.map(({ id, load }) => [{ node: id }, load?.cpu ?? 0]),
    ),
    metric(
      "node_tasks_total",
      "counter",
      "Tasks that ended on a node.",
      nodes.flatMap(({ id, succeeded, failed }): Sample[] => [
        [{ node: id, outcome: "succeeded" }, succeeded],
        [{ node: id, outcome: "failed" }, failed],
      ]),
    ),
    metric("process_resident_memory_bytes", "gauge", "Memory of the coordinator's process.", one(rss)),
    metric("process_cpu_seconds_total", "counter", "CPU time of the coordinator's process.", one((user + system) / 1e6)),
  ].join("");
}
