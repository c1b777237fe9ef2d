/**
 * A node that runs asks for its session again: where the bus is may have changed, and where the control nodes are. So it finds its
 * cluster also when every address that it started with is gone.
 *
 * W1. It asks when the bus has been away for a while, or stands and no coordinator answers there: that may be a server whose coordinator
 *     leads no more. It goes on asking until that is over. While all is well it asks when the coordinator says that the places are
 *     other ones, and now and then.
 * W2. One question is under way at a time, and each has a limit, so that a control node that hangs holds up nothing.
 * W3. A connection to a server that is still among those that are told is left alone. What was told counts for the next one, and for the
 *     next start.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Subscription } from "../bus/bus.ts";
import type { MovableBus } from "../bus/nats.ts";
import type { Clock, Timer } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import type { Worker } from "../worker/worker.ts";
import type { Admitted } from "./session.ts";

export const SESSION_WATCH = {
  /**
   * The connection tries the addresses that it knows within 2 s each, and a slow line brings an answer after 3 s; what comes back by
   * itself needs no question.
   */
  awayMs: 4_000,
  /** Half of it to one and a half, as with refreshMs. */
  movedMs: 1_000,
  /** Half of it to one and a half, so that the nodes of a cluster do not come together. */
  refreshMs: 600_000,
  askMs: 10_000,
} as const;

export interface SessionWatchParts {
  ask(signal: AbortSignal): Promise<Admitted>;
  /** After each answer. */
  told(admitted: Admitted): Promise<void>;
  /** The cluster has said that it does not know this node. */
  removed(error: ClusterError): void;
  readonly bus: Pick<MovableBus, "connected" | "onStatus" | "reach">;
  readonly worker: Pick<Worker, "heard" | "onHeard" | "onPlaces">;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

export function watchSession({ ask, told, removed, bus, worker, clock, random, log }: SessionWatchParts): Subscription {
  const stopped = new AbortController();
  let timer: Timer | undefined;
  let asking = false;
  // Kept over what comes between, so that a connection which is lost now and then does not put it off for ever.
  let refreshAtMs = 0;
  /** Since the last question. */
  let hasMoved = false;
  const waitOn = (): void => {
    timer?.cancel();
    const isWell = bus.connected && worker.heard;
    const ms = isWell ? Math.max(0, refreshAtMs - clock.monotonic()) : jittered(SESSION_WATCH.awayMs);
    if (!stopped.signal.aborted) timer = clock.after(ms, () => void renew());
  };
  const jittered = (ms: number): number => ms * (0.5 + random());
  const putOff = (ms: number): void => {
    refreshAtMs = clock.monotonic() + jittered(ms);
    waitOn();
  };
  const renew = async (): Promise<void> => {
    if (asking) return;
    asking = true;
    hasMoved = false;
    try {
      const admitted = await ask(AbortSignal.any([stopped.signal, AbortSignal.timeout(SESSION_WATCH.askMs)]));
      bus.reach(admitted.busUrls);
      await told(admitted);
    } catch (error) {
      if (error instanceof ClusterError && error.code === "node_removed") removed(error);
      else if (!stopped.signal.aborted) log.info({ err: error }, "no control node says where the bus is; they are asked again");
    } finally {
      asking = false;
      putOff(hasMoved ? SESSION_WATCH.movedMs : SESSION_WATCH.refreshMs);
    }
  };
  const moved = (): void => {
    hasMoved = true;
    if (!asking) putOff(SESSION_WATCH.movedMs);
  };
  const changes = [bus.onStatus(waitOn), worker.onHeard(waitOn), worker.onPlaces(moved)];
  putOff(SESSION_WATCH.refreshMs);
  return {
    stop() {
      stopped.abort();
      timer?.cancel();
      for (const change of changes) change.stop();
    },
  };
}
