/**
 * What reaches the coordinator from its nodes: reports, heartbeats, the end of a connection. Each is checked, becomes a
 * step of the turn, and is answered after the commit; what is not answered comes again.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { HeartbeatReply, ReportReply } from "@openclaw-cluster/contract/wire";
import type { Message, Refusal, Subscription } from "../bus/bus.ts";
import { ANY_HEARTBEAT, ANY_REPORT, senderOf } from "../bus/subjects.ts";
import { failpoint, failpointOnceSent } from "../system/failpoint.ts";
import { sparingLog, type SparingLog } from "../system/sparing-log.ts";
import { readHeartbeat } from "./heartbeat-body.ts";
import { applyHeartbeat, endsWithItsWorker, loseLeases } from "./heartbeats.ts";
import type { Leading } from "./lead-parts.ts";
import { PlaceMark } from "./place-mark.ts";
import { stateOf } from "./registry.ts";
import { readReport } from "./report-body.ts";
import { applyReport } from "./reports.ts";

/** A node whose connection has closed, and that is not heard again within this time, has ended. Coming back takes some 100 ms. */
const GONE_MS = 700;

const TRESPASSES: { readonly [Why in Refusal]?: string } = {
  unsealed: "sent a message without a seal",
  forged: "sent a message with a seal that is not its own",
  misdirected: "wanted an answer sent to somebody else",
  replayed: "sent a message a second time, or from an earlier life",
  excess: "said more than is listened to; what was beyond it was dropped",
};

export class Inbox {
  private readonly lead: Leading;
  private readonly complaints: SparingLog;
  private readonly places: PlaceMark;
  private subscriptions: Subscription[] = [];

  constructor(lead: Leading) {
    this.lead = lead;
    this.places = new PlaceMark(lead.parts);
    this.complaints = sparingLog(lead.parts.log, lead.parts.clock);
  }

  open(): void {
    const { bus, busServer } = this.lead.parts;
    this.subscriptions = [
      bus.subscribe(ANY_REPORT, (message) => this.onReport(message)),
      bus.subscribe(ANY_HEARTBEAT, (message) => this.onHeartbeat(message)),
    ];
    const told = [
      busServer?.onDisconnect?.((node) => this.onClosed(node)),
      busServer?.onTrespass?.((node, what) => this.lead.trespassed(node, what)),
      busServer?.onGuess?.((address, key) => this.onGuess(address, key)),
      bus.onRefusal((party, why) => this.onRefusal(party, why)),
    ];
    this.subscriptions.push(...told.filter((one) => one !== undefined));
  }

  close(): void {
    for (const subscription of this.subscriptions) subscription.stop();
  }

  private onReport({ subject, body, respond, wasNews }: Message): void {
    const { state, turn } = this.lead;
    const report = readReport(body);
    const node = senderOf(subject);
    if (report === undefined || state.registry.find(node)?.row.state !== "approved") {
      this.complaints.warn(node, { node, readable: report !== undefined }, "a report was dropped");
      return;
    }
    let reply: ReportReply;
    turn.add({
      apply: () => {
        // Asked again, here and below: it may have been removed in this very turn.
        const { verdicts, isNews } = applyReport(state, state.registry.get(node), report);
        reply = { epoch: state.epoch, verdicts };
        if (isNews) wasNews?.();
        if (report.finished.length > 0) failpoint("report.applied");
      },
      committed: () => {
        if (report.finished.length > 0) failpoint("report.committed");
        respond?.(reply);
        if (report.finished.length > 0) failpointOnceSent("report.answered");
      },
      // No answer: the worker keeps what it has and reports again.
      failed: (error) => this.complaints.warn(node, { node, code: error.code }, "a report was not accepted"),
    });
  }

  private onHeartbeat({ subject, body, respond }: Message): void {
    const { state, turn } = this.lead;
    const read = readHeartbeat(body);
    const node = senderOf(subject);
    if (read.kind !== "none" && read.beat.node !== node) this.lead.trespassed(node, `sent a heartbeat as ${read.beat.node}`);
    if (read.kind === "none" || read.beat.node !== node || state.registry.find(node)?.row.state !== "approved") {
      this.complaints.warn(node, { node, ...(read.kind === "none" && { problem: read.problem }) }, "a heartbeat was dropped");
      return;
    }
    let reply: HeartbeatReply | undefined;
    turn.add({
      apply: () => {
        const entry = state.registry.get(node);
        const before = stateOf(entry);
        reply = applyHeartbeat(state, entry, read.beat);
        if (stateOf(entry) !== before) this.lead.nodeChanged(entry);
      },
      committed: () => reply && respond?.({ ...reply, places: this.places.now() } satisfies HeartbeatReply),
      failed: (error) => this.complaints.warn(node, { node, code: error.code }, "a heartbeat was not accepted"),
    });
  }

  /** One that is to be let in knocks too early where this coordinator has only just begun; that is nothing to note. */
  private onGuess(address: string, key: string | undefined): void {
    const owner = [...this.lead.state.registry.all()].find(({ row }) => row.publicKey === key)?.row;
    if (owner?.state === "approved") {
      if (this.lead.gate.isSettled(owner)) this.lead.guessed(address, `came to the bus as ${owner.id}, without its key`);
      return;
    }
    if (owner?.state === "revoked") return this.lead.trespassed(owner.id, `wanted onto the bus from ${address}, after it was shut out`);
    this.lead.guessed(address, key === undefined ? "came to the bus without a key" : `came to the bus with a foreign key, ${key}`);
  }

  /** What a restart of either end or a late word explains is nothing to note. */
  private onRefusal(party: string, why: Refusal): void {
    const what = TRESPASSES[why];
    if (what !== undefined) this.lead.trespassed(party as NodeId, what);
  }

  /** Long before its silence would tell. */
  private onClosed(node: NodeId): void {
    const { state, turn, parts } = this.lead;
    const closedAt = parts.clock.monotonic();
    parts.clock.after(GONE_MS, () => {
      turn.add({
        apply: () => {
          const entry = state.registry.find(node);
          // The news may be older than the node's return: it comes over a connection of its own.
          if (parts.busServer?.isConnected?.(node) === true) return;
          if (entry === undefined || !state.registry.gone(entry, closedAt)) return;
          loseLeases(state, entry, endsWithItsWorker);
          failpoint("loss.applied");
          this.lead.nodeChanged(entry);
        },
        committed: () => undefined,
        failed: (error) => parts.log.warn({ node, code: error.code }, "the end of a node was not kept; its silence will tell"),
      });
    });
  }
}
