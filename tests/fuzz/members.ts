/**
 * The nodes that requests speak of, with their real keys. A request of theirs is signed when it is sent: its time, its key and its
 * invitation are those of that moment, and what it changes is known here before the next one.
 *
 * M1. What is put right goes past the API, which shuts out whoever has shown too many wrong proofs.
 * M2. Each invitation that was opened is used in the end, by a machine that goes again: so many may be open, and every round needs its own.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { Invite, INVITE, JoinReply, type Session } from "@openclaw-cluster/contract/join";
import { Leaving } from "@openclaw-cluster/contract/membership";
import type { Coordinator } from "../../cluster/src/coordinator/coordinator.ts";
import { systemClock } from "../../cluster/src/system/clock.ts";
import { fingerprintOf } from "../../cluster/src/trust/fingerprint.ts";
import { readJoinCode, type JoinCode } from "../../cluster/src/trust/join-code.ts";
import { joinKey, makeJoinRequest } from "../../cluster/src/trust/join-proof.ts";
import { createNodeKeys, type NodeKeys } from "../../cluster/src/trust/keys.ts";
import { makeSessionRequest } from "../../cluster/src/trust/session-proof.ts";
import { COORDINATOR_KEY } from "../support/fake-keys.ts";
import { bytesOf } from "./mutation.ts";
import { freshNonce, signProven, type Means, type Unsigned } from "./proofs.ts";

export type Standing = Session["state"];

interface Signed {
  readonly body: Buffer;
  /** To be called when it was granted, with the answer's text. */
  granted(text: string): Promise<void>;
}

interface Invitation {
  readonly code: JoinCode;
  /** The only id that may come in with it. */
  readonly node: string | undefined;
  readonly expiresAt: number;
}

/** Open at once, before they are used up. */
const OPEN_MAX = INVITE.openMax / 4;
/** Left to an invitation: less, and it may run out while it is used. */
const LEFT_MS_MIN = 5_000;
/** A machine that comes in to use an invitation up. */
const PASSING = "passing";

export class Members {
  /** Machines that came in to put things right. */
  joined = 0;
  private readonly coordinator: Coordinator;
  private readonly cluster: string;
  private readonly keys = new Map<string, NodeKeys>();
  /** Whoever has none. */
  private readonly foreign = createNodeKeys();
  private open: Invitation[] = [];
  private lastCode: JoinCode | undefined;
  private lastNonce = freshNonce();

  private constructor(coordinator: Coordinator, cluster: string) {
    this.coordinator = coordinator;
    this.cluster = cluster;
  }

  /** `first` is a node already, with these keys. */
  static async open(coordinator: Coordinator, first: NodeId, keys: NodeKeys): Promise<Members> {
    const { cluster } = await coordinator.session(first, makeSessionRequest(first, COORDINATOR_KEY, keys.seed));
    const members = new Members(coordinator, cluster);
    members.keys.set(first, keys);
    return members;
  }

  async sign(unsigned: Unsigned): Promise<Signed> {
    const means = await this.meansFor(unsigned);
    return {
      body: bytesOf(signProven(unsigned, means), unsigned.text),
      granted: (text) => this.granted(unsigned, means, text),
    };
  }

  /** Lets the node in as it is wanted, unless it is that. */
  async restore(node: NodeId, standing: Standing): Promise<void> {
    if (this.standingOf(node) === standing) return;
    if (this.coordinator.nodes({ all: true }).some(({ id }) => id === node)) await this.coordinator.removeNode(node);
    await this.letIn(node, standing);
  }

  /** Somebody was given an invitation, in these words. */
  async invited(text: string): Promise<void> {
    const { code, node, expiresAt } = Invite.parse(JSON.parse(text));
    if (this.open.length >= OPEN_MAX) await this.useUp();
    this.open.push({ code: readJoinCode(code), node, expiresAt });
  }

  /** Its node is gone. */
  forget(node: NodeId): void {
    this.keys.delete(node);
  }

  /** M2. */
  async useUp(): Promise<void> {
    const open = this.open.filter(({ expiresAt }) => expiresAt > systemClock.wall() + LEFT_MS_MIN);
    this.open = [];
    for (const { code, node = PASSING } of open) await this.passThrough(code, node as NodeId);
  }

  private async passThrough(code: JoinCode, node: NodeId): Promise<void> {
    const own = this.keys.get(node);
    try {
      await this.joinWith(code, node, own ?? createNodeKeys());
      if (own === undefined) await this.coordinator.removeNode(node);
    } catch (error) {
      // The only node that may come in with it is there, and none of these: it runs out.
      if (!(error instanceof ClusterError && error.code === "state_conflict")) throw error;
    }
  }

  private async letIn(node: NodeId, standing: Standing): Promise<void> {
    const keys = createNodeKeys();
    const { code } = await this.coordinator.invite({ approve: standing === "approved", ttlMs: INVITE.ttlDefaultMs });
    await this.joinWith(readJoinCode(code), node, keys);
    this.keys.set(node, keys);
  }

  private async joinWith({ invite, secret }: JoinCode, node: NodeId, { publicKey, seed }: NodeKeys): Promise<void> {
    this.joined += 1;
    await this.coordinator.join(makeJoinRequest({ invite, node, publicKey, hostname: "fuzz", os: "linux" }, joinKey(secret), seed));
  }

  /** undefined: it is not there, or is shut out, or has another key. */
  private standingOf(node: NodeId): Standing | undefined {
    const its = this.coordinator.nodes({ all: true }).find(({ id }) => id === node);
    const keys = this.keys.get(node);
    if (its === undefined || keys === undefined || its.fingerprint !== fingerprintOf(keys.publicKey)) return undefined;
    if (its.state === "revoked") return undefined;
    return its.state === "pending" ? "pending" : "approved";
  }

  private async meansFor(unsigned: Unsigned): Promise<Means> {
    const { operation, again } = unsigned;
    if (!again) this.lastNonce = freshNonce();
    const means = { cluster: this.cluster, coordinatorKey: COORDINATOR_KEY, now: systemClock.wall(), nonce: this.lastNonce };
    const [own, chosen] = [this.keys.get(unsigned.node) ?? this.foreign, this.chosenKeys(unsigned)];
    if (operation !== "join") return { ...means, keys: own, next: chosen, code: undefined };
    if (!again || this.lastCode === undefined) this.lastCode = await this.invite(unsigned);
    return { ...means, keys: chosen, next: chosen, code: this.lastCode };
  }

  private chosenKeys({ key, node }: Unsigned): NodeKeys {
    if (key === "new") return createNodeKeys();
    const others = [...this.keys].filter(([name]) => (name === node) === (key === "own")).map(([, keys]) => keys);
    return others[0] ?? createNodeKeys();
  }

  /** Whether it waits then, and whether the invitation is its alone, is told by what the request tells of its machine. */
  private async invite({ node, body }: Unsigned): Promise<JoinCode> {
    const { hostname = "" } = body as { readonly hostname?: string };
    const only = hostname.length % 3 === 0 ? { node: node as NodeId } : {};
    const { code, expiresAt } = await this.coordinator.invite({ ...only, approve: hostname.length % 2 === 0, ttlMs: INVITE.ttlDefaultMs });
    const read = readJoinCode(code);
    if (this.open.length >= OPEN_MAX) await this.useUp();
    this.open.push({ code: read, node: only.node, expiresAt });
    return read;
  }

  private async granted({ operation, node }: Unsigned, { keys, next, code }: Means, text: string): Promise<void> {
    switch (operation) {
      case "join":
        // A change may have given it another name.
        this.keys.set(JoinReply.parse(JSON.parse(text)).node, keys);
        this.open = this.open.filter((one) => one.code !== code);
        return;
      case "rotate":
        this.keys.set(node, next);
        return;
      case "leave":
        // There again at once, so that the next one has something to take out.
        if (Leaving.parse(JSON.parse(text)).gone) await this.letIn(node as NodeId, "approved");
        return;
      case "session":
      case "probe":
        return;
    }
  }
}
