import { busConformance } from "../../cluster/src/bus/bus.conformance.ts";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { startTestNats } from "../support/nats.ts";

busConformance("nats", async () => {
  const nats = await startTestNats();
  const worker = await nats.connectAs("a");
  return { coordinator: nats.coordinatorBus, worker, node: "a" as NodeId, close: () => nats.stop() };
});
