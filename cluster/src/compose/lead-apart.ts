/**
 * Keeps the lead of the cluster and that of its own etcd on two machines, where there are two that vote.
 *
 * A1. Where both die at once, the lease that the next leader waits for begins anew after etcd's election. Seen with three control nodes,
 *     at a kill -9 of the leader's daemon: 4.0 to 4.5 s where another machine led etcd, 5.9 to 8.0 s where it was the same. Apart,
 *     each commit takes one message more there and back.
 */
import type { Clock, Timer } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import type { SharedEtcd } from "./shared-etcd.ts";

/** A question to this machine's own member. Also the first one: whoever has just begun to lead has more urgent things to ask. */
const LOOK_MS = 1_000;

export class LeadApart {
  private readonly etcd: Pick<SharedEtcd, "yieldLead">;
  private readonly clock: Clock;
  private readonly log: Log;
  private timer: Timer;
  private looking: Promise<void> = Promise.resolve();
  private isStopped = false;

  constructor({ etcd, clock, log }: { readonly etcd: Pick<SharedEtcd, "yieldLead">; readonly clock: Clock; readonly log: Log }) {
    [this.etcd, this.clock, this.log] = [etcd, clock, log];
    this.timer = this.arm();
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    this.timer.cancel();
    await this.looking;
  }

  private arm(): Timer {
    return this.clock.after(LOOK_MS, () => {
      this.looking = this.look();
    });
  }

  private async look(): Promise<void> {
    await this.etcd.yieldLead().catch((error: unknown) => this.log.debug({ err: error }, "etcd's lead stays on this machine for now"));
    if (!this.isStopped) this.timer = this.arm();
  }
}
