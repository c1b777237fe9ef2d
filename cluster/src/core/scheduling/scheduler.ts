/**
 * The scheduler's face towards the coordinator: what waits, what is promised away, and where the next tasks go. Pure:
 * time and randomness are arguments, decisions are data, and whoever acts on them is told nothing else.
 *
 * C1. `place` reserves as it decides, and a decided task has left the queue; `release` gives back what `place` or
 *     `reserve` took, once for each.
 * C2. The coordinator calls `place` when something was queued, given back or changed, and now and then besides:
 *     penalties and aging pass with time alone.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { NodeLoad } from "@openclaw-cluster/contract/node";
import type { Explanation } from "@openclaw-cluster/contract/placement";
import type { Strategy, TaskKind } from "@openclaw-cluster/contract/task-spec";
import type { SchedulableNode } from "../node.ts";
import type { TaskRecord } from "../task.ts";
import { levelOf } from "./aging.ts";
import { Chooser } from "./choose.ts";
import { Siblings, StickyKeys } from "./company.ts";
import { explain, explainPlaced, type Waiting } from "./explain.ts";
import { FitBook } from "./fits.ts";
import { History, kindIndex } from "./history.ts";
import { Holds } from "./hold.ts";
import type { Asker, Member } from "./member.ts";
import { AHEAD_MAX, inOrder } from "./order.ts";
import type { Placement } from "./placement.ts";
import { Queue, type Line } from "./queue.ts";
import { Scene } from "./rank.ts";
import { Roster } from "./roster.ts";
import { Shapes } from "./shape.ts";
import { presumedRunMs } from "./window.ts";

export interface Decision {
  readonly key: number;
  readonly node: NodeId;
  readonly placement: Placement;
}

export class Scheduler {
  private readonly shapes: Shapes;
  private readonly queue = new Queue();
  private readonly roster = new Roster();
  private readonly fits = new FitBook(this.roster);
  private readonly history = new History();
  private readonly sticky = new StickyKeys();
  private readonly siblings = new Siblings();
  private readonly scene = new Scene(this.history, this.sticky, this.siblings);
  private readonly chooser = new Chooser(this.fits, this.scene);
  private readonly holds = new Holds(this.roster, this.fits);

  /** `strategy`: of tasks that name none. */
  constructor({ strategy }: { strategy: Strategy }) {
    this.shapes = new Shapes(strategy);
  }

  /** New or changed. Reservations stay; penalties go where its facts (its policy among them) are new, or its disk has room again. */
  setNode(node: SchedulableNode): void {
    const known = this.roster.get(node.id)?.node;
    const hasRoomAgain = known?.load?.diskFull !== undefined && node.load?.diskFull === undefined;
    if (known?.facts !== node.facts || hasRoomAgain) this.fits.pardon(node.id);
    this.roster.set(node);
  }

  setLoad(id: NodeId, load: NodeLoad): void {
    const node = this.roster.get(id)?.node;
    if (node !== undefined) this.setNode({ ...node, load });
  }

  removeNode(id: NodeId): void {
    this.roster.remove(id);
  }

  enqueue(task: TaskRecord): void {
    if (this.shapes.full) this.forgetShapes();
    this.queue.enqueue(task, this.shapes.of(task));
  }

  /** True if it was there. */
  dequeue(key: number): boolean {
    const line = this.queue.remove(key);
    if (line?.holds !== undefined) this.giveUpHold(line);
    return line !== undefined;
  }

  has(key: number): boolean {
    return this.queue.has(key);
  }

  get size(): number {
    return this.queue.size;
  }

  /** At most `limit` decisions, in the order of work. */
  place(now: number, random: () => number, limit: number): Decision[] {
    const { queue, scene, holds } = this;
    const decisions: Decision[] = [];
    this.wake(now);
    queue.age(now);
    scene.random = random;
    while (decisions.length < limit) {
      const line = queue.top();
      if (line === undefined) {
        // A hold that was lifted in this very call is news.
        if (!this.roster.hasNews) break;
        this.wake(now);
        continue;
      }
      const choice = this.chooser.choose(line, now);
      if (choice === undefined) {
        holds.seek(line, this.chooser.found, now);
        queue.sleep(line);
        continue;
      }
      const { member, placement } = choice;
      const task = queue.serve(line);
      if (line.holds !== undefined) holds.lift(line);
      member.chosen = ++scene.turn;
      this.reserve(task, member.id);
      decisions.push({ key: task.key, node: member.id, placement });
    }
    return decisions;
  }

  /** For a lease that is held already, after a restart. */
  reserve(task: TaskRecord, node: NodeId): void {
    const { prefer } = task.spec;
    this.roster.always(node).reserve(task.spec);
    if (prefer?.sticky !== undefined) this.sticky.note(prefer.sticky, node);
    if (prefer?.spread !== undefined) this.siblings.add(prefer.spread, node);
  }

  /** The attempt ended, was refused or is lost. */
  release(task: TaskRecord, node: NodeId): void {
    const member = this.roster.always(node);
    member.release(task.spec);
    this.roster.freed(member);
    if (task.spec.prefer?.spread !== undefined) this.siblings.remove(task.spec.prefer.spread, node);
  }

  /** How an attempt went; of a node that is gone, nothing is learnt. */
  observe(node: NodeId, kind: TaskKind, runMs: number, succeeded: boolean): void {
    const member = this.roster.get(node);
    if (member === undefined) return;
    const index = kindIndex(kind);
    this.history.observe(member.history, index, runMs, succeeded);
    member.rememberRun(index, presumedRunMs(kind));
  }

  /** The node refused a task of this shape: it is passed over until then. */
  penalise(task: TaskRecord, node: NodeId, until: number): void {
    const shape = this.shapes.of(task);
    const line = this.queue.lineOf(shape);
    this.fits.penalise(shape, node, until);
    if (line?.holds?.id === node) this.giveUpHold(line);
  }

  used(node: NodeId): { slots: number; memoryMiB: number } {
    const member = this.roster.get(node);
    return { slots: member?.leased ?? 0, memoryMiB: member?.memoryMiB ?? 0 };
  }

  /** Of a task that waits, or of a plan (key 0), which nobody submitted. */
  explain(task: Waiting, now: number): Explanation {
    const shape = this.shapes.find(task) ?? this.shapes.describe(task);
    const ahead = this.position(task.key, now);
    const asker = this.queue.lineOf(shape) ?? newcomer(task, now);
    return explain({ task, shape, asker, now, ahead, roster: this.roster, fits: this.fits, scene: this.scene, chooser: this.chooser });
  }

  explainPlaced(task: TaskRecord): Explanation | undefined {
    return explainPlaced(task, this.shapes.describe(task), this.roster);
  }

  /** How many come before it, counted up to AHEAD_MAX; undefined if it does not wait here. */
  position(key: number, now: number): number | undefined {
    if (!this.queue.has(key)) return undefined;
    let ahead = 0;
    for (const entry of inOrder(this.queue, now)) {
      if (entry.key === key || ahead === AHEAD_MAX) break;
      ahead++;
    }
    return ahead;
  }

  /** What comes next, in the order of work. */
  head(limit: number, now: number): TaskRecord[] {
    const tasks: TaskRecord[] = [];
    if (limit <= 0) return tasks;
    for (const { task } of inOrder(this.queue, now)) if (tasks.push(task) >= limit) break;
    return tasks;
  }

  /** Wakes the lines for which a node has news, and those whose time has come. */
  private wake(now: number): void {
    const { queue, holds } = this;
    for (const shape of this.fits.forgive(now)) {
      const line = queue.lineOf(shape);
      if (line !== undefined) queue.rouse(line);
    }
    for (const line of holds.due(now, queue.allLines)) queue.rouse(line);
    const stirred = this.roster.takeStirred();
    if (stirred.length === 0) return;
    for (const line of queue.allLines) this.tell(line, stirred);
  }

  private tell(line: Line, stirred: readonly Member[]): void {
    const { at, version } = this.fits.of(line.shape);
    if (line.holds !== undefined && at[line.holds.index]?.member !== line.holds) this.holds.lift(line);
    // It will look at all nodes anyway.
    if (line.awake && line.openVersion !== version) return;
    line.openVersion = version;
    for (const member of stirred) {
      const fit = at[member.index];
      if (fit === undefined || fit.open) continue;
      if (member.hasRoom(line.shape, line)) {
        fit.open = true;
        line.open.push(fit);
        this.queue.wake(line);
      } else if (this.holds.isWorthAsking(line, member)) {
        this.queue.rouse(line);
      } else {
        line.keptOut ||= member.hold !== undefined;
      }
    }
  }

  private giveUpHold(line: Line): void {
    this.holds.lift(line);
    this.queue.rouse(line);
  }

  private forgetShapes(): void {
    const gone = this.shapes.forget((shape) => this.queue.lineOf(shape) === undefined && !this.fits.hasPenalties(shape));
    for (const shape of gone) this.fits.forget(shape);
  }
}

/** Where a task would stand that came to its level last. */
function newcomer(task: Waiting, now: number): Asker {
  return { level: levelOf(task, now), key: Infinity };
}
