/**
 * One node as the scheduler keeps it: what it said of itself, and what has been promised away of it. All arithmetic of
 * reservation is here.
 *
 * R1. A task that may not lead is placed only where leased slots, its own included, stay within the node's slots.
 * R2. A task that may lead (window.ts) is placed only within the window of its kind; slots taken by work that is not
 *     known to be short are no part of a window, and with all slots so taken nothing is given ahead.
 * R3. Reserved memory stays within MEMORY_SHARE of the machine's.
 * R4. Reservations outlive a change of the node and its removal; they go only by `release`.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { SchedulableNode } from "../node.ts";
import { nameHash } from "./hash.ts";
import type { Ranked } from "./heap.ts";
import { kindIndex, meanRunMs, NodeHistory } from "./history.ts";
import type { Shape } from "./shape.ts";
import { leadFactor, mayLead, presumedRunMs, windowOf } from "./window.ts";

/** The rest is the operating system's. */
export const MEMORY_SHARE = 0.9;
/** Of a node that has sent no load yet. */
const CPU_UNKNOWN = 0.5;
/** The kinds that may lead: echo, command and tool, by kindIndex. */
const LEADING = [0, 1, 3] as const;

/** The line of a task for which a node is being emptied (hold.ts). */
export interface Holder {
  readonly shape: Shape;
  holds: Member | undefined;
  /** It would hold a node if one were to be had. */
  wantsHold: boolean;
}

/** A holder's rank only rises while it holds: whoever was kept out stays so, and nobody has to be told of a fall. */
export interface Hold {
  readonly holder: Holder;
  level: number;
  key: number;
}

/** Whoever wants room now: a line, or a task that is in none. */
export type Asker = Standing | (Standing & Holder);
type Standing = Pick<Ranked, "level" | "key">;

/**
 * Who gets a node that two want to hold, and whom a hold keeps out. Fair shares are left out of it: they move with every
 * task that is placed, and a hold must not.
 */
export function outranks(a: Standing, b: Standing): boolean {
  return a.level === b.level ? a.key < b.key : a.level > b.level;
}

export class Member {
  readonly id: NodeId;
  /** Small and dense, to index arrays by; reused when the member is gone. */
  readonly index: number;
  readonly hash: number;
  /** undefined: not known yet, or removed while it held reservations. */
  node: SchedulableNode | undefined;
  /** The roster's version when the node last changed. */
  version = 0;
  slots = 0;
  memoryMaxMiB = 0;
  /** Share of the cores that is busy. */
  cpu = CPU_UNKNOWN;
  /** Slots promised away. */
  leased = 0;
  memoryMiB = 0;
  readonly history = new NodeHistory();
  /** The turn in which it was last chosen; 0 for never. */
  chosen = 0;
  /** Whoever it outranks takes nothing here that its holder waits for. */
  hold: Hold | undefined;
  /** Waits in the roster's list of nodes that may have room again. */
  stirred = false;

  private readonly leading = [0, 0, 0, 0, 0];
  private readonly factor = [leadFactor(presumedRunMs("echo")), 1, 1, 1, 1];

  constructor(id: NodeId, index: number) {
    this.id = id;
    this.index = index;
    this.hash = nameHash(id);
  }

  set(node: SchedulableNode): void {
    this.node = node;
    this.slots = node.slots;
    this.memoryMaxMiB = Math.floor((node.facts?.memoryMiB ?? 0) * MEMORY_SHARE);
    if (node.load !== undefined) this.cpu = node.load.cpu;
  }

  /** How many slots may be leased in all, for a task of this shape to be among them (R1, R2). */
  capacity(shape: Shape): number {
    if (!shape.mayLead) return this.slots;
    const factor = this.factor[shape.kindIndex] as number;
    if (factor === 1) return this.slots;
    const long = this.longSlots;
    return long >= this.slots ? this.slots : Math.min(windowOf(this.slots, factor), long + windowOf(this.slots - long, factor));
  }

  /** Leased slots that are not known to be free again in an instant. */
  get longSlots(): number {
    return this.leased - this.shortSlots;
  }

  private get shortSlots(): number {
    let short = 0;
    for (const kind of LEADING) if ((this.factor[kind] as number) > 1) short += this.leading[kind] as number;
    return short;
  }

  hasSlots(shape: Shape): boolean {
    return this.leased + shape.slots <= this.capacity(shape);
  }

  hasMemory(shape: Shape): boolean {
    return shape.memoryMiB === 0 || this.memoryMiB + shape.memoryMiB <= this.memoryMaxMiB;
  }

  /** Would `asker` stand in the way of the task that this node is held for? */
  isHeldFrom(shape: Shape, asker: Asker): boolean {
    const { hold } = this;
    if (hold === undefined || hold.holder === asker || !outranks(hold, asker)) return false;
    const held = hold.holder.shape;
    if (this.leased + shape.slots > this.capacity(held) - held.slots) return true;
    return shape.memoryMiB > 0 && this.memoryMiB + shape.memoryMiB > this.memoryMaxMiB - held.memoryMiB;
  }

  hasRoom(shape: Shape, asker: Asker): boolean {
    return this.hasSlots(shape) && this.hasMemory(shape) && !this.isHeldFrom(shape, asker);
  }

  /** Is it work given ahead of the slots, to which more could be added, that keeps the shape out? */
  isLedAgainst(shape: Shape): boolean {
    return !this.hasSlots(shape) && this.isLedBeyond(shape) && this.shortSlots > 0;
  }

  /** Is there a kind that may be given further ahead than this shape? */
  private isLedBeyond(shape: Shape): boolean {
    const own = shape.mayLead ? (this.factor[shape.kindIndex] as number) : 1;
    return LEADING.some((kind) => (this.factor[kind] as number) > own);
  }

  /** What must be given back before the shape fits, as a share of the node. */
  shortfall(shape: Shape): number {
    const slots = Math.max(0, this.leased + shape.slots - this.capacity(shape)) / this.slots;
    return this.memoryMaxMiB === 0 ? slots : slots + Math.max(0, this.memoryMiB + shape.memoryMiB - this.memoryMaxMiB) / this.memoryMaxMiB;
  }

  reserve(spec: TaskSpec): void {
    this.count(spec, 1);
  }

  release(spec: TaskSpec): void {
    this.count(spec, -1);
    if (this.leased < 0 || this.memoryMiB < 0) throw new Error(`more was released on ${this.id} than was reserved there`);
  }

  /** After each new entry in the history. */
  rememberRun(kind: number, presumedMs: number | undefined): void {
    this.factor[kind] = leadFactor(meanRunMs(this.history, kind) ?? presumedMs);
  }

  private count(spec: TaskSpec, sign: 1 | -1): void {
    const { require } = spec;
    this.leased += sign * (require?.slots ?? 1);
    this.memoryMiB += sign * (require?.memoryMiB ?? 0);
    if (mayLead(spec)) this.leading[kindIndex(spec.kind)] = (this.leading[kindIndex(spec.kind)] as number) + sign;
  }
}
