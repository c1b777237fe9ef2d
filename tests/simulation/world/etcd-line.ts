/**
 * One control node's way to etcd, which it shares with the others: calls and answers take time, and may be late or lost; the way
 * may be cut, and etcd itself may have no quorum. Nothing of that is told to whoever calls, but by a time-out.
 *
 * W1. What has been sent may be taken, also after its sender gave up on it, stands still or is dead.
 * W2. Watches lose nothing (they go on where they were): what is cut off is heard late.
 * W3. Without a quorum reads that ask for a member's own word are answered, and nothing else is.
 */
import { CALL_MS, EtcdFault } from "../../../cluster/src/store/etcd-client.ts";
import type { Line, RamEtcd } from "../../support/ram-etcd.ts";
import type { Chance } from "./chance.ts";
import type { PartyClock } from "./party-clock.ts";
import type { VirtualTime } from "./time.ts";

/** With the sync of a majority of members. */
const WAY_MS = [0.3, 3] as const;
/** A call that is held up arrives up to this much later: after its sender's patience, and after another's claim. */
const LATE_MS = 9_000;
const REFUSED_MS = 50;
/** A watch that broke off (etcd-gateway.ts). */
const AGAIN_MS = 200;

/** Of one control node's way, whatever runs on it at the moment. */
export interface LineFaults {
  cut: boolean;
  /** Its watches are held up, its calls are not. */
  deaf: boolean;
  slowMs: number;
  lost: number;
  lostAnswers: number;
  late: number;
}

export const CALM: Readonly<LineFaults> = { cut: false, deaf: false, slowMs: 0, lost: 0, lostAnswers: 0, late: 0 };

export interface LineParts {
  readonly etcd: RamEtcd;
  readonly faults: LineFaults;
  readonly time: VirtualTime;
  readonly clock: PartyClock;
  readonly chance: Chance;
}

export function etcdLine({ etcd, faults, time, clock, chance }: LineParts): Line {
  const wayMs = (): number => chance.between(...WAY_MS) + faults.slowMs * chance.next();

  return {
    call<T>(work: () => T, { timeoutMs = CALL_MS, signal, local = false }: Parameters<Line["call"]>[1] = {}): Promise<T> {
      return new Promise((resolve, reject) => {
        const undecided = (): void => reject(new EtcdFault("undecided", "etcd gave no answer in time", { mayHaveHappened: true }));
        // By the world's time: a timer of the party's own would be a step also where it was cancelled, as nearly each is.
        const timer = time.after(timeoutMs, () => clock.soon(undecided));
        signal?.addEventListener("abort", () => (timer.cancel(), undecided()), { once: true });
        const answer = (settle: () => void): void => {
          if (faults.cut || chance.is(faults.lostAnswers)) return;
          time.after(wayMs(), () => clock.soon(() => (timer.cancel(), settle())));
        };
        const arrive = (): void => {
          if (!etcd.hasQuorum && !local) {
            if (chance.is(0.5)) return answer(() => reject(new EtcdFault("no_quorum", "etcd has no leader")));
            // Kept by a member that believes in a leader, until there is one.
            if (chance.is(faults.late)) time.after(LATE_MS, arrive);
            return;
          }
          const done = attempt(work);
          answer(() => (done.kind === "done" ? resolve(done.value) : reject(done.error)));
        };
        clock.soon(() => {
          if (faults.cut && chance.is(0.5))
            return void clock.after(REFUSED_MS, () => (timer.cancel(), reject(new EtcdFault("unreachable", "no member is reached"))));
          if (faults.cut || chance.is(faults.lost)) return;
          time.after(wayMs() + (chance.is(faults.late) ? chance.between(0, LATE_MS) : 0), arrive);
        });
      });
    },

    news: (heard, signal) =>
      new Promise((resolve) => {
        let onTheWay = false;
        const end = (upTo: number): void => {
          stop();
          signal.removeEventListener("abort", leave);
          resolve(upTo);
        };
        const leave = (): void => end(heard);
        const look = (): void => {
          if (!clock.alive) return stop();
          if (onTheWay || signal.aborted || etcd.revision <= heard) return;
          onTheWay = true;
          time.after(wayMs(), () => arrive(etcd.revision));
        };
        const arrive = (upTo: number): void => {
          // Cut, or no leader to hear of: it asks again.
          if (faults.cut || faults.deaf || !etcd.hasQuorum) time.after(AGAIN_MS, () => ((onTheWay = false), look()));
          else clock.soon(() => end(upTo));
        };
        const stop = etcd.onRevision(look);
        signal.addEventListener("abort", leave, { once: true });
        if (signal.aborted) leave();
        else look();
      }),
  };
}

type Done<T> = { readonly kind: "done"; readonly value: T } | { readonly kind: "failed"; readonly error: unknown };

function attempt<T>(work: () => T): Done<T> {
  try {
    return { kind: "done", value: work() };
  } catch (error) {
    return { kind: "failed", error };
  }
}
