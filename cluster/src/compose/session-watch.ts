/**
 * A node that runs asks for its session again: where the bus is may have changed, and where the control nodes are. So it finds its
 * cluster also when every address that it started with is gone.
 *
 * W1. It asks when the bus has been away for a while, and goes on asking until the bus is back; and now and then while all is well.
 * W2. One question is under way at a time, and each has a limit, so that a control node that hangs holds up nothing.
 * W3. A connection that stands is left alone. What was told counts for the next one, and for the next start.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Subscription } from "../bus/bus.ts";
import type { MovableBus } from "../bus/nats.ts";
import type { Clock, Timer } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import type { Admitted } from "./session.ts";

export const SESSION_WATCH = {
  /** The connection tries the addresses that it knows within 2 s each; what comes back by itself needs no question. */
  awayMs: 4_000,
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
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

export function watchSession({ ask, told, removed, bus, clock, random, log }: SessionWatchParts): Subscription {
  const stopped = new AbortController();
  let timer: Timer | undefined;
  let asking = false;
  const waitOn = (): void => {
    timer?.cancel();
    const ms = bus.connected ? SESSION_WATCH.refreshMs : SESSION_WATCH.awayMs;
    if (!stopped.signal.aborted) timer = clock.after(ms * (0.5 + random()), () => void renew());
  };
  const renew = async (): Promise<void> => {
    if (asking) return;
    asking = true;
    try {
      const admitted = await ask(AbortSignal.any([stopped.signal, AbortSignal.timeout(SESSION_WATCH.askMs)]));
      bus.reach(admitted.busUrls);
      await told(admitted);
    } catch (error) {
      if (error instanceof ClusterError && error.code === "node_removed") removed(error);
      else if (!stopped.signal.aborted) log.info({ err: error }, "no control node says where the bus is; they are asked again");
    } finally {
      asking = false;
      waitOn();
    }
  };
  const status = bus.onStatus(waitOn);
  waitOn();
  return {
    stop() {
      stopped.abort();
      timer?.cancel();
      status.stop();
    },
  };
}
