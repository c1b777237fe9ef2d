/**
 * What nodes hear of a control node that stands by when neither it nor they hear of anybody who leads: as from one that has lost its lead
 * (last-word.ts), they may go on for PAUSE_MS. So work goes on also where the leader is among the dead.
 *
 * Y1. It may be cut off, and not the others dead. So it is said only in a term whose leader heeds it (word-watch.ts), and the time counts
 *     from when this one sent what a quorum has taken last in that term: nobody can have led in a later one before that, and whoever does
 *     gives nothing away for as long (L1 in last-word.ts).
 * Y2. What it has said it tells the leader as soon as it is heard again. A life that was not ended in good order may have said anything;
 *     the next one tells that.
 * Y3. Its own machine's work is not told, nor that of the leader's: where such a machine dies, it is to be noticed as soon as ever.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { PAUSE_MS } from "../core/liveness.ts";
import type { Clock, Timer } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { pause } from "../system/pause.ts";
import { sayLastWord } from "./last-word.ts";
import type { StandbyWords, WordTerm } from "./standby-words.ts";

const BEAT_MS = 1_000;
/** Longer than an election in etcd takes, and half of what is left of a lease then. */
const SILENT_MS = 3_000;

/** A way to the nodes. */
export interface Voice {
  say(node: NodeId, epoch: number, ms: number): void;
  close(): Promise<void>;
}

export interface StandbyWordParts {
  readonly self: NodeId;
  /** Of this life of the daemon. */
  readonly boot: string;
  readonly words: StandbyWords;
  readonly clock: Clock;
  readonly log: Log;
  /** Nodes that hold leases, as far as is known here. */
  holders(): Iterable<NodeId>;
  /** Calls when a node may have come to hold some. */
  onLeases(listener: () => void): () => void;
  /** Does it, at the moment? Else it is silent, and says nothing new. */
  standsBy(): boolean;
  openVoice(): Promise<Voice>;
}

interface Heard extends WordTerm {
  /** By the monotonic clock. */
  readonly sentAt: number;
}

export class StandbyWordKeeper {
  private readonly parts: StandbyWordParts;
  private readonly closed = new AbortController();
  private readonly running: Promise<void>;
  private n = 0;
  private heardN = 0;
  private heard: Heard | undefined;
  /** Y2, by the monotonic clock. */
  private saidUntil = -Infinity;
  private timer: Timer | undefined;
  private isIdle = false;
  /** Ends the wait for the next look. */
  private wake = new AbortController();
  private speaking: { readonly said: Promise<void>; hush(): void } | undefined;

  constructor(parts: StandbyWordParts) {
    this.parts = parts;
    this.running = this.run();
  }

  /** In good order. */
  async close(): Promise<void> {
    const { words, self, clock, log } = this.parts;
    this.closed.abort();
    this.wake.abort();
    await this.running;
    await this.hush();
    if (this.n === 0 || this.saidUntil > clock.monotonic()) return;
    await words.remove(self).catch((error: unknown) => log.debug({ err: error }, "that this control node says nothing more was not heard"));
  }

  private async run(): Promise<void> {
    const { clock, standsBy, holders, onLeases } = this.parts;
    const { signal } = this.closed;
    const stop = onLeases(() => this.isIdle && this.wake.abort());
    await this.ownUp();
    while (!signal.aborted) {
      this.wake = new AbortController();
      this.isIdle = standsBy() && isEmpty(holders());
      if (!standsBy()) await this.hush();
      else if (!this.isIdle) await this.write();
      if (!signal.aborted) await pause(clock, BEAT_MS, this.wake.signal);
    }
    stop();
  }

  /** Y2. */
  private async ownUp(): Promise<void> {
    const { words, self, clock, log } = this.parts;
    while (!this.closed.signal.aborted) {
      try {
        if (await words.left(self)) this.saidUntil = clock.monotonic() + PAUSE_MS;
        return;
      } catch (error) {
        log.debug({ err: error }, "what an earlier life of this control node has said cannot be asked at the moment");
        await pause(clock, BEAT_MS, this.closed.signal);
      }
    }
  }

  private async write(): Promise<void> {
    const { words, self: node, boot, clock, log } = this.parts;
    const sentAt = clock.monotonic();
    const n = ++this.n;
    try {
      const saidMs = Math.ceil(Math.max(0, this.saidUntil - sentAt));
      const term = await words.write({ node, boot, n, heard: this.heardN, saidMs });
      this.heardN = n;
      const leader = term.leader ?? (term.epoch === this.heard?.epoch ? this.heard.leader : undefined);
      this.heard = { epoch: term.epoch, sentAt, ...(leader !== undefined && { leader }) };
      await this.hush();
      this.timer = clock.after(Math.max(0, sentAt + SILENT_MS - clock.monotonic()), () => this.speak());
    } catch (error) {
      log.debug({ err: error }, "this control node hears no quorum at the moment");
    }
  }

  private speak(): void {
    const { clock, log, standsBy, self } = this.parts;
    const { heard } = this;
    if (heard?.leader?.heedsWords !== true || !standsBy() || this.closed.signal.aborted) return;
    const nodes = [...this.parts.holders()].filter((node) => node !== heard.leader?.node && node !== self);
    if (nodes.length === 0 || clock.monotonic() >= heard.sentAt + PAUSE_MS) return;
    // Before the first of it is said.
    this.saidUntil = Math.max(this.saidUntil, heard.sentAt + PAUSE_MS);
    const cut = new AbortController();
    const said = this.say(heard, nodes, cut.signal).catch((error: unknown) => {
      log.warn({ err: error }, "the nodes are not told to go on: this control node cannot reach them");
    });
    this.speaking = { said, hush: () => cut.abort() };
  }

  private async say({ epoch, sentAt }: Heard, nodes: readonly NodeId[], signal: AbortSignal): Promise<void> {
    const { self, clock, log, openVoice } = this.parts;
    log.warn({ epoch, nodes: nodes.length }, "neither who leads nor most control nodes are heard; nodes may go on for a while");
    const voice = await openVoice();
    try {
      await sayLastWord({ self, clock, nodes, sureUntil: sentAt, signal }, (node, ms) => voice.say(node, epoch, ms));
    } finally {
      await voice.close();
    }
  }

  private async hush(): Promise<void> {
    this.timer?.cancel();
    this.speaking?.hush();
    await this.speaking?.said;
    this.speaking = undefined;
  }
}

function isEmpty(all: Iterable<unknown>): boolean {
  for (const _ of all) return false;
  return true;
}
