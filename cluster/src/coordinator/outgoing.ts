/**
 * What a turn wants to send: gathered while the ledger changes, let go after the commit (P1 in turn.ts). Offers go in
 * arrays, cut by bytes because the bus carries at most 1 MiB a message. Large arrays are answered when they have arrived: until
 * then they need not be made again. Of small ones the node's heartbeats tell.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { taskId } from "@openclaw-cluster/contract/ids";
import type { AttemptRef, Control, Offer, Offers } from "@openclaw-cluster/contract/wire";
import type { Bus } from "../bus/bus.ts";
import { controlTo, offersTo } from "../bus/subjects.ts";
import { FIXED_BYTES, specBytes } from "../core/spec-size.ts";
import type { TaskRecord } from "../core/task.ts";
import { isTerminal, submitterOf } from "../core/task.ts";
import { failpoint, failpointOnceSent } from "../system/failpoint.ts";
import type { Feed } from "./feed.ts";
import type { Written } from "./ledger.ts";
import type { NodeEntry } from "./registry.ts";

/** Offers of one message; 256 was measured to be as fast as more. */
const OFFERS_MAX = 256;
const OFFERS_BYTES_MAX = 512 * 1024;
/** Of one message: some 60 bytes each. */
const CANCELS_MAX = 4_096;
/**
 * Arrays with less in their inputs are not answered: one answer to each array costs single submits a sixth of their throughput.
 * On the wire it is 20 KiB of text, and 16 KiB around it for 64 tasks: half a second on a line of 64 kB/s.
 */
const ANSWERED_BYTES = 64 * 1024;
/** Once they have left (B6 in bus.ts): a second and a half each way on a slow line that is full. */
const ARRIVAL_MS = 5_000;

interface Waiter {
  readonly attempt: number;
  callBack(): void;
}

interface OffersToLife {
  readonly life: Pick<Offers, "boot" | "heard">;
  readonly offers: Offer[];
}

export class Outgoing {
  private readonly bus: Bus;
  private readonly feed: Feed;
  private readonly epoch: number;
  private offers = new Map<NodeId, OffersToLife[]>();
  private cancels = new Map<NodeId, AttemptRef[]>();
  private readonly underWay = new Map<NodeId, Set<readonly Offer[]>>();
  private progressed: TaskRecord[] = [];
  private readonly waiters = new Map<number, Set<Waiter>>();

  constructor(bus: Bus, feed: Feed, epoch: number) {
    this.bus = bus;
    this.feed = feed;
    this.epoch = epoch;
  }

  /** To the node that holds its lease, in the life that it is known to be in. */
  offer(task: TaskRecord, { boot, heard }: Pick<NodeEntry, "boot" | "heard">): void {
    const { key, attempt, lease, spec } = task;
    if (lease === undefined || boot === undefined) return;
    const lives = this.offers.get(lease.node);
    const last = lives?.at(-1);
    const offer = { task: taskId(key), attempt, epoch: lease.epoch, spec, submitter: submitterOf(task) };
    if (last?.life.boot === boot) last.offers.push(offer);
    else append(this.offers, lease.node, { life: { boot, heard }, offers: [offer] });
  }

  /** Is its offer known to be still on its way? On a slow line that takes a while, and a second one behind it would make it worse. */
  isUnderWay({ key, attempt, lease }: TaskRecord): boolean {
    const parts = lease && this.underWay.get(lease.node);
    if (parts === undefined) return false;
    const id = taskId(key);
    return [...parts].some((part) => part.some((offer) => offer.task === id && offer.attempt === attempt));
  }

  cancel(node: NodeId, attempt: AttemptRef): void {
    append(this.cancels, node, attempt);
  }

  progress(task: TaskRecord): void {
    this.progressed.push(task);
  }

  /** Calls back once when the task has ended and that is committed. Returns how to stop waiting. */
  whenOver(key: number, callBack: () => void): () => void {
    return this.whenPast(key, Number.POSITIVE_INFINITY, callBack);
  }

  /** As soon as an attempt after this one is given away, or the task has ended. */
  whenPast(key: number, attempt: number, callBack: () => void): () => void {
    const waiter = { attempt, callBack };
    this.waiters.set(key, (this.waiters.get(key) ?? new Set()).add(waiter));
    return () => this.stopWaiting(key, waiter);
  }

  /** Forgets what a failed commit would have sent. */
  drop(): void {
    this.offers = new Map();
    this.cancels = new Map();
    this.progressed = [];
  }

  flush(written: Written | undefined, now: number): void {
    const news = this.progressed.map((progress) => ({ progress }) as { progress: TaskRecord } | { task: TaskRecord });
    for (const task of written?.created ?? []) news.push({ task });
    for (const task of written?.changed ?? []) {
      news.push({ task });
      this.moved(task);
    }
    if (this.offers.size > 0) failpoint("place.committed");
    if (this.cancels.size > 0) failpoint("cancel.committed");
    for (const [node, lives] of this.offers) for (const one of lives) this.sendOffers(node, one);
    if (this.offers.size > 0) failpointOnceSent("place.offered");
    for (const [node, attempts] of this.cancels) {
      for (let at = 0; at < attempts.length; at += CANCELS_MAX)
        this.control(node, { kind: "cancel", epoch: this.epoch, attempts: attempts.slice(at, at + CANCELS_MAX) });
    }
    this.feed.publish(news, now);
    this.drop();
  }

  control(node: NodeId, control: Control): void {
    this.bus.publish(controlTo(node), control);
  }

  private moved({ key, attempt, state }: TaskRecord): void {
    for (const waiter of this.waiters.get(key) ?? []) {
      if (attempt <= waiter.attempt && !isTerminal(state)) continue;
      this.stopWaiting(key, waiter);
      waiter.callBack();
    }
  }

  private stopWaiting(key: number, waiter: Waiter): void {
    const waiting = this.waiters.get(key);
    if (waiting?.delete(waiter) === true && waiting.size === 0) this.waiters.delete(key);
  }

  private sendOffers(node: NodeId, { life, offers }: OffersToLife): void {
    let part: Offer[] = [];
    let bytes = 0;
    let inputs = 0;
    const send = (): void => {
      const message = { epoch: this.epoch, ...life, offers: part };
      if (inputs < ANSWERED_BYTES) this.bus.publish(offersTo(node), message);
      else void this.deliver(node, message);
    };
    for (const offer of offers) {
      const size = specBytes(offer.spec);
      if (part.length > 0 && (part.length === OFFERS_MAX || bytes + size > OFFERS_BYTES_MAX)) {
        send();
        part = [];
        bytes = inputs = 0;
      }
      part.push(offer);
      bytes += size;
      inputs += size - FIXED_BYTES;
    }
    if (part.length > 0) send();
  }

  private async deliver(node: NodeId, message: Offers): Promise<void> {
    const part = message.offers;
    const parts = this.underWay.get(node) ?? new Set();
    this.underWay.set(node, parts.add(part));
    try {
      await this.bus.deliver(offersTo(node), message, ARRIVAL_MS);
    } catch {
      // Arrived or not, the node's next heartbeat says what it holds.
    }
    parts.delete(part);
    if (parts.size === 0) this.underWay.delete(node);
  }
}

function append<Key, Item>(map: Map<Key, Item[]>, key: Key, item: Item): void {
  const items = map.get(key);
  if (items === undefined) map.set(key, [item]);
  else items.push(item);
}
