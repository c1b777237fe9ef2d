/**
 * Machines that come and go in a simulated cluster: each has a key on its disk, comes in with a code, is asked to leave for good,
 * gets another key, and comes back with another code. Their commands are processes of their own, and die like any other.
 *
 * K1. The key that the store knows of a machine lies on that machine's disk: whatever dies, it can come in.
 * K2. The store forgets no machine that has not asked for it, and a machine goes with nothing owed in its spool.
 * K3. A key that was replaced, or that has left, opens nothing.
 */
import type { ClusterId, NodeId } from "@openclaw-cluster/contract/ids";
import { InviteRequest } from "@openclaw-cluster/contract/join";
import type { LeaveWish } from "@openclaw-cluster/contract/membership";
import type { Batch } from "../../../cluster/src/store/store.ts";
import { readJoinCode, type JoinCode } from "../../../cluster/src/trust/join-code.ts";
import { joinKey, makeJoinRequest } from "../../../cluster/src/trust/join-proof.ts";
import { createNodeKeys, type NodeKeys } from "../../../cluster/src/trust/keys.ts";
import { makeLeaveRequest, makeRotateRequest, type Member } from "../../../cluster/src/trust/membership-proof.ts";
import { makeSessionRequest } from "../../../cluster/src/trust/session-proof.ts";
import { COORDINATOR_KEY } from "../../support/fake-keys.ts";
import type { Chance } from "./chance.ts";
import type { Checker } from "./checker.ts";
import type { Answer, Front } from "./front.ts";
import type { Machine } from "./machine.ts";
import type { PartyClock } from "./party-clock.ts";
import type { VirtualTime } from "./time.ts";
import type { Act } from "./trouble.ts";

const AGAIN_MS = 1_000;
/** A command's look at what is left. */
const LOOK_MS = 500;
/** So often a command of a machine dies at any one step. */
const COMMAND_DIES = 0.08;
const AWAY_MS = [500, 20_000] as const;
const DRAIN_LOOKS = 40;

/** What lies on a machine's disk of its membership. */
interface Place {
  current: NodeKeys;
  next: NodeKeys | undefined;
  /** One that was made for it, until it is used or has run out. */
  code: JoinCode | undefined;
  /** Settings name a coordinator. */
  joined: boolean;
  /** A command holds the home, so that no daemon starts. */
  held: boolean;
  /** `go` was sent with this key. */
  readonly sentAway: Set<string>;
  readonly ended: NodeKeys[];
}

/** The command has died. */
class CommandDied extends Error {}

export interface MembersParts {
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly front: Front;
  readonly checker: Checker;
  note(text: string): void;
}

export class Members {
  private readonly parts: MembersParts;
  private readonly places = new Map<NodeId, Place>();
  private cluster: ClusterId | undefined;
  /** Whom nats-server takes, and by which key. */
  private taken: ReadonlyMap<NodeId, string> = new Map();
  private over = false;

  constructor(parts: MembersParts) {
    this.parts = parts;
  }

  /** Of the machines' commands; trouble picks among them. */
  readonly acts: readonly Act[] = [
    ({ anyMachine }) => this.command(anyMachine, "leaves for good", () => this.leave(anyMachine)),
    ({ anyMachine }) => this.command(anyMachine, "gets another key", () => this.rotate(anyMachine.id)),
    ({ anyMachine }) => this.command(anyMachine, "gets another key", () => this.rotate(anyMachine.id)),
  ];

  /** Nobody leaves any more, and who is away comes back. */
  end(): void {
    this.over = true;
  }

  /** What the daemon of a machine does at its start: comes in with the key that counts, or, sent away, with a code. */
  async enrol(id: NodeId, clock: PartyClock): Promise<ClusterId> {
    const place = this.placeOf(id);
    for (;;) {
      const cluster = place.held ? undefined : place.joined ? await this.knock(id, place) : await this.join(id, place);
      if (cluster !== undefined && !place.held) {
        await clock.passes(0);
        return cluster;
      }
      await clock.passes(AGAIN_MS);
    }
  }

  publicKeyOf(id: NodeId): string {
    return this.placeOf(id).current.publicKey;
  }

  authorized(nodes: readonly { readonly id: NodeId; readonly publicKey: string }[]): void {
    this.taken = new Map(nodes.map(({ id, publicKey }) => [id, publicKey]));
  }

  /** Is the key that its connection stands by taken? */
  isTaken(id: NodeId): boolean {
    return this.taken.get(id) === this.publicKeyOf(id);
  }

  /** A daemon tries what lies on its disk, one key after the other; the one that is let in counts from then on. */
  admits(id: NodeId): boolean {
    const place = this.placeOf(id);
    const keys = keysOf(place).find(({ publicKey }) => publicKey === this.taken.get(id));
    if (keys !== undefined) this.settle(place, keys);
    return keys !== undefined;
  }

  /** K1 and K2, at each commit. */
  committed({ nodes = [], nodesRemoved = [] }: Batch): void {
    for (const id of nodesRemoved) {
      const place = this.places.get(id);
      if (place?.sentAway.size === 0) this.parts.checker.fault("K2", `${id} was forgotten and has never asked for it`);
    }
    for (const { id, publicKey } of nodes) {
      const place = this.places.get(id);
      if (place === undefined || keysOf(place).some((keys) => keys.publicKey === publicKey) || place.sentAway.has(publicKey)) continue;
      this.parts.checker.fault("K1", `${id} is known by a key that does not lie on its disk`);
    }
  }

  /** K3, when everything is at rest: the present keys open, and those of before do not. */
  async atRest(): Promise<void> {
    const { front, checker } = this.parts;
    for (const [id, place] of this.places) {
      if (!place.joined || place.held) checker.fault("K1", `${id} has not come back`);
      for (const keys of place.ended) {
        const answer = await front.ask((coordinator) => coordinator.session(id, makeSessionRequest(id, COORDINATOR_KEY, keys.seed)));
        if (answer.kind === "answered") checker.fault("K3", `a key that ${id} had before still opens`);
      }
    }
  }

  private placeOf(id: NodeId): Place {
    const known = this.places.get(id);
    if (known !== undefined) return known;
    const place: Place = {
      current: createNodeKeys(),
      next: undefined,
      code: undefined,
      joined: false,
      held: false,
      sentAway: new Set(),
      ended: [],
    };
    this.places.set(id, place);
    return place;
  }

  /** undefined: not answered, or sent away. */
  private async knock(id: NodeId, place: Place): Promise<ClusterId | undefined> {
    let refused = 0;
    const keys = keysOf(place);
    for (const one of keys) {
      const answer = await this.parts.front.ask((coordinator) =>
        coordinator.session(id, makeSessionRequest(id, COORDINATOR_KEY, one.seed)),
      );
      if (answer.kind === "answered") {
        this.settle(place, one);
        return (this.cluster = answer.value.cluster);
      }
      if (answer.kind === "refused" && answer.code === "unauthorized") refused += 1;
    }
    // Only while nothing else of this machine was under way does a refusal of all it has say anything.
    if (refused === keys.length && place.joined && !place.held && keysOf(place).length === keys.length) this.refused(id, place);
    return undefined;
  }

  private refused(id: NodeId, place: Place): void {
    if (!keysOf(place).some(({ publicKey }) => place.sentAway.has(publicKey)))
      this.parts.checker.fault("K1", `${id} is not known by any key on its disk, and was never sent away`);
    this.forget(place);
  }

  private forget(place: Place): void {
    place.ended.push(...keysOf(place));
    place.current = createNodeKeys();
    place.next = undefined;
    place.joined = false;
  }

  private settle(place: Place, keys: NodeKeys): void {
    if (place.next?.publicKey !== keys.publicKey) return;
    place.ended.push(place.current);
    place.current = keys;
    place.next = undefined;
  }

  private async join(id: NodeId, place: Place): Promise<ClusterId | undefined> {
    const { front, chance, time } = this.parts;
    if (place.code === undefined) {
      if (!this.over) await time.passes(chance.between(...AWAY_MS));
      const invited = await front.ask((coordinator) => coordinator.invite(InviteRequest.parse({ approve: true })));
      if (invited.kind !== "answered") return undefined;
      place.code = readJoinCode(invited.value.code);
    }
    const { code } = place;
    const { publicKey, seed } = place.current;
    const request = makeJoinRequest({ invite: code.invite, node: id, publicKey, hostname: id, os: "linux" }, joinKey(code.secret), seed);
    const answer = await front.ask((coordinator) => coordinator.join(request));
    if (answer.kind === "refused" && answer.code === "unauthorized") place.code = undefined;
    if (answer.kind !== "answered") return undefined;
    place.code = undefined;
    place.joined = true;
    return (this.cluster = answer.value.cluster);
  }

  /** One at a time on each machine. */
  private async command(machine: Machine, what: string, run: () => Promise<void>): Promise<void> {
    const place = this.placeOf(machine.id);
    if (this.over || place.held || !place.joined) return;
    this.parts.note(`${machine.id} ${what}`);
    try {
      await run();
    } catch (error) {
      if (!(error instanceof CommandDied)) throw error;
      this.parts.note(`${machine.id}: that command dies`);
    } finally {
      place.held = false;
      machine.start();
    }
  }

  private step(): void {
    if (!this.over && this.parts.chance.is(COMMAND_DIES)) throw new CommandDied();
  }

  private async rotate(id: NodeId): Promise<void> {
    const place = this.placeOf(id);
    place.next ??= createNodeKeys();
    const { current, next } = place;
    this.step();
    const member = this.memberOf(id);
    if (member === undefined) return;
    const at = (now: number) => makeRotateRequest(member, now, current, next);
    const answer = await this.signed(id, (now) => this.parts.front.ask((coordinator) => coordinator.rotate(id, at(now))));
    this.step();
    if (answer?.kind === "answered") this.settle(place, next);
  }

  private async leave(machine: Machine): Promise<void> {
    const { time } = this.parts;
    const { id } = machine;
    const place = this.placeOf(id);
    for (let looks = 0; ; looks++) {
      const left = await this.wish(id, "drain");
      this.step();
      if (left?.kind === "answered" && left.value.held === 0) break;
      if (looks === DRAIN_LOOKS || this.over || !place.joined) return void (await this.wish(id, "stay"));
      await time.passes(LOOK_MS);
    }
    place.held = true;
    await machine.ended();
    this.step();
    // What it owes it hands over first; another time.
    if (machine.owed > 0) return;
    for (;;) {
      for (const { publicKey } of keysOf(place)) place.sentAway.add(publicKey);
      const gone = await this.wish(id, "go");
      this.step();
      if (gone?.kind === "answered" || !(await this.isKnown(id, place))) break;
      if (this.over) return;
      await time.passes(AGAIN_MS);
    }
    this.forget(place);
  }

  /** Not answered is known, as far as anybody knows. */
  private async isKnown(id: NodeId, place: Place): Promise<boolean> {
    const answers: Answer<unknown>[] = [];
    for (const { seed } of keysOf(place))
      answers.push(await this.parts.front.ask((coordinator) => coordinator.session(id, makeSessionRequest(id, COORDINATOR_KEY, seed))));
    return !answers.every((answer) => answer.kind === "refused" && answer.code === "unauthorized");
  }

  private wish(id: NodeId, wish: LeaveWish): Promise<Answer<{ held: number }> | undefined> {
    const member = this.memberOf(id);
    const { current } = this.placeOf(id);
    if (member === undefined) return Promise.resolve(undefined);
    const at = (now: number) => makeLeaveRequest(member, now, wish, current);
    return this.signed(id, (now) => this.parts.front.ask((coordinator) => coordinator.leave(id, at(now))));
  }

  /** With the coordinator's own time, which a session tells. */
  private async signed<T>(id: NodeId, call: (now: number) => Promise<Answer<T>>): Promise<Answer<T> | undefined> {
    const { front } = this.parts;
    for (const { seed } of keysOf(this.placeOf(id))) {
      const session = await front.ask((coordinator) => coordinator.session(id, makeSessionRequest(id, COORDINATOR_KEY, seed)));
      if (session.kind === "answered") return call(session.value.now);
    }
    return undefined;
  }

  private memberOf(node: NodeId): Member | undefined {
    return this.cluster === undefined ? undefined : { cluster: this.cluster, node };
  }
}

const keysOf = ({ current, next }: Place): NodeKeys[] => (next === undefined ? [current] : [current, next]);
