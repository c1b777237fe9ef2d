/**
 * What befalls a cluster while it works: a worker is killed or stopped every few minutes, nats-server is killed now and then.
 * The coordinator and the other worker live from beginning to end, so that what they leak adds up.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { TestCluster, TestDaemon } from "../../tests/support/daemon.ts";
import type { Chance } from "../../tests/simulation/world/chance.ts";

export type Strike = "worker killed" | "worker stopped" | "nats-server killed";

/** Rounds take a minute. The second and third are struck, so that a short run sees both. */
const WORKER_EVERY = 3;
const NATS_EVERY = 12;
const AWAY_MS = [500, 5_000] as const;

export function strikeOf(round: number, chance: Chance): Strike | undefined {
  if (round % NATS_EVERY === 3) return "nats-server killed";
  if (round % WORKER_EVERY === 2) return chance.pick(["worker killed", "worker stopped"]);
  return undefined;
}

/** Resolves when whoever was struck has been started again. */
export async function carryOut(strike: Strike, cluster: TestCluster, worker: TestDaemon, chance: Chance): Promise<void> {
  if (strike === "nats-server killed") {
    // The coordinator starts it again by itself.
    process.kill(await cluster.natsPid(), "SIGKILL");
    return;
  }
  if (strike === "worker killed") await worker.kill();
  else await worker.stop();
  await pause(chance.between(...AWAY_MS));
  await worker.start();
}
