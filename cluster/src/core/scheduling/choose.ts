/**
 * The decision on one task: of the nodes that fit and have room, the one its strategy scores highest, with what is kept
 * of the reasons.
 *
 * D1. Equal scores are decided by the rendezvous hash of task and node.
 * D2. The same task, nodes and random numbers give the same decision, whatever the order in which the nodes joined.
 * D3. After a failure the node where it failed comes last, whatever the scores say: a second node tells whether the
 *     task or the node is at fault.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { HELD, PENALISED, type Fit, type FitBook } from "./fits.ts";
import { rendezvous } from "./hash.ts";
import type { Member } from "./member.ts";
import { CANDIDATES_KEPT, REFUSED_KEPT, type Placement, type Refused, type Scored } from "./placement.ts";
import type { Line } from "./queue.ts";
import { round, type Scene } from "./rank.ts";
import type { Shape } from "./shape.ts";
import { JUDGES } from "./strategy.ts";

export interface Choice {
  readonly member: Member;
  readonly placement: Placement;
}

export interface Scoring {
  fit: Fit;
  score: number;
}

export class Chooser {
  private readonly fits: FitBook;
  private readonly scene: Scene;
  private readonly closed: Fit[] = [];
  /** Best first; the first `ranked` of them are of this decision, the objects are used again. */
  private readonly best: Scoring[] = [];
  private ranked = 0;

  constructor(fits: FitBook, scene: Scene) {
    this.fits = fits;
    this.scene = scene;
  }

  choose(line: Line, now: number): Choice | undefined {
    this.look(line);
    if (line.open.length === 0) return undefined;
    this.scene.set(line.head, line.shape);
    this.rank(line.open, CANDIDATES_KEPT);
    const { member } = (this.best[0] as Scoring).fit;
    return { member, placement: this.placement(member.id, line, now) };
  }

  /** The nodes that were found full at the last look. */
  get found(): readonly Fit[] {
    return this.closed;
  }

  /** Every candidate, best first, for an explanation. */
  rankAll(candidates: readonly Fit[]): readonly Scoring[] {
    this.rank(candidates, candidates.length);
    return this.best.splice(0, this.ranked);
  }

  /** Strikes the nodes without room off the line's list. */
  private look(line: Line): void {
    const { shape } = line;
    const fits = this.fits.of(shape);
    const { version } = fits;
    if (line.openVersion !== version) {
      line.open = fits.list.slice();
      line.openVersion = version;
    }
    const { open } = line;
    const penalties = this.fits.hasPenalties(shape);
    let kept = 0;
    this.closed.length = 0;
    for (const fit of open) {
      fit.open = fit.member.hasRoom(shape, line) && !(penalties && this.fits.penalty(shape, fit.member.id) !== undefined);
      if (fit.open) {
        open[kept++] = fit;
      } else {
        this.closed.push(fit);
        line.keptOut ||= fit.member.hold !== undefined;
      }
    }
    open.length = kept;
  }

  /** By insertion into a short list, as only the best few are kept. */
  private rank(candidates: readonly Fit[], kept: number): void {
    const { scene, best } = this;
    const judge = JUDGES[scene.shape.strategy];
    let count = 0;
    if (judge.compares) scene.compare(candidates);
    for (const fit of candidates) {
      const score = judge.score(scene, fit);
      if (count === kept && !comesBefore(score, fit, best[count - 1] as Scoring, scene)) continue;
      let at = count < kept ? count++ : count - 1;
      const scoring = best[at] ?? { fit, score };
      for (; at > 0 && comesBefore(score, fit, best[at - 1] as Scoring, scene); at--) best[at] = best[at - 1] as Scoring;
      scoring.fit = fit;
      scoring.score = score;
      best[at] = scoring;
    }
    this.ranked = count;
  }

  private placement(node: NodeId, { shape, open }: Line, at: number): Placement {
    const judge = JUDGES[shape.strategy];
    const scored: Scored[] = [];
    for (let i = 0; i < this.ranked; i++) {
      const { fit, score } = this.best[i] as Scoring;
      scored.push([fit.member.id, round(score), judge.terms(this.scene, fit)]);
    }
    const { list, refused: never, refusedMore: neverMore } = this.fits.of(shape);
    const full = list.length - open.length;
    if (full === 0 && neverMore === 0) return { node, strategy: shape.strategy, at, scored, refused: never };
    const refused: Refused[] = [];
    const limit = Math.min(full, REFUSED_KEPT);
    for (let i = 0; refused.length < limit; i++) if (!(list[i] as Fit).open) refused.push(this.whyFull(list[i] as Fit, shape));
    for (let i = 0; i < never.length && refused.length < REFUSED_KEPT; i++) refused.push(never[i] as Refused);
    const refusedMore = full + never.length + neverMore - refused.length;
    return { node, strategy: shape.strategy, at, scored, refused, ...(refusedMore > 0 && { refusedMore }) };
  }

  private whyFull(fit: Fit, shape: Shape): Refused {
    const { member } = fit;
    if (this.fits.penalty(shape, member.id) !== undefined) return [member.id, "penalised", PENALISED];
    if (!member.hasSlots(shape)) return fit.noSlots;
    return member.hasMemory(shape) ? [member.id, "slots_busy", HELD] : fit.noMemory;
  }
}

/** D3, then the scores, then D1. */
function comesBefore(score: number, { member }: Fit, other: Scoring, { failedOn, task: { key } }: Scene): boolean {
  if (failedOn !== undefined && (member.id === failedOn) !== (other.fit.member.id === failedOn)) return member.id !== failedOn;
  if (score !== other.score) return score > other.score;
  const mine = rendezvous(key, member.hash);
  const its = rendezvous(key, other.fit.member.hash);
  return mine === its ? member.id < other.fit.member.id : mine > its;
}
