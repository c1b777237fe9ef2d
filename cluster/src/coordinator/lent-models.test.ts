import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { LentModel } from "@openclaw-cluster/contract/models";
import { expect, it } from "vitest";
import { COORDINATOR_KEY } from "../../../tests/support/fake-keys.ts";
import { lentModel } from "../../../tests/support/fake-models.ts";
import { startRamCluster } from "../../../tests/support/ram-cluster.ts";
import { systemClock } from "../system/clock.ts";
import { openStandby, type Followed } from "./standby.ts";

it("tells what is lent now, and nothing where there is no router yet, or none at all", async () => {
  let router: { lent: LentModel[] } | undefined;
  const cluster = await startRamCluster({ models: async () => router?.lent ?? [] });
  expect(await cluster.coordinator.models()).toEqual([]);
  router = { lent: [lentModel("qwen3:8b")] };
  expect(await cluster.coordinator.models()).toEqual([lentModel("qwen3:8b")]);
  await cluster.stop();
  const without = await startRamCluster();
  expect(await without.coordinator.models()).toEqual([]);
  await without.stop();
});

it("is refused by one that stands by, whom nobody lends anything", () => {
  const about = { name: "home", version: "0.1.0", self: "nas" as NodeId, coordinatorKey: COORDINATOR_KEY, clock: systemClock };
  const standby = openStandby({ ...about, store: {} as Followed, leader: () => "studio", controlView: () => undefined });
  expect(() => standby.models()).toThrow(expect.objectContaining({ code: "unavailable" }) as Error);
});
