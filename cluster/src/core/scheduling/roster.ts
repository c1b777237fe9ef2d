/**
 * All nodes, and the news about them that the queue must hear: which have changed, and which may have room again.
 *
 * O1. `members` is in the order of ids, whatever the order of joining, so that nothing downstream depends on that.
 * O2. `version` grows with each change that a filter could see. Of a heartbeat's load that is only whether the disk is full.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Labels } from "@openclaw-cluster/contract/task-spec";
import type { SchedulableNode } from "../node.ts";
import { Census } from "./census.ts";
import { Member } from "./member.ts";

export class Roster {
  readonly census = new Census();
  version = 0;
  private readonly byId = new Map<NodeId, Member>();
  private readonly present: Member[] = [];
  private readonly spare: number[] = [];
  private stirred: Member[] = [];

  get members(): readonly Member[] {
    return this.present;
  }

  get(id: NodeId): Member | undefined {
    return this.byId.get(id);
  }

  /** Also one of which nothing is known but a reservation. */
  always(id: NodeId): Member {
    let member = this.byId.get(id);
    if (member === undefined) {
      member = new Member(id, this.spare.pop() ?? this.byId.size);
      this.byId.set(id, member);
    }
    return member;
  }

  set(node: SchedulableNode): void {
    const member = this.always(node.id);
    const known = member.node;
    member.set(node);
    if (known !== undefined && sameToFilters(known, node)) return;
    if (known === undefined) this.present.splice(this.rank(node.id), 0, member);
    if (known?.facts !== node.facts) this.census.take(member, node.facts);
    member.version = ++this.version;
    this.stir(member);
  }

  remove(id: NodeId): void {
    const member = this.byId.get(id);
    if (member?.node === undefined) return;
    member.node = undefined;
    this.present.splice(this.rank(id), 1);
    this.census.take(member, undefined);
    this.version++;
    this.stir(member);
    this.dropIfUnused(member);
  }

  /** Something was given back there. */
  freed(member: Member): void {
    if (member.node === undefined) this.dropIfUnused(member);
    else this.stir(member);
  }

  get hasNews(): boolean {
    return this.stirred.length > 0;
  }

  /** The members that were stirred since the last call, in the order of ids (O1). */
  takeStirred(): readonly Member[] {
    const { stirred } = this;
    if (stirred.length === 0) return NONE;
    this.stirred = [];
    for (const member of stirred) member.stirred = false;
    return stirred.length === 1 ? stirred : stirred.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** There is news of it. */
  stir(member: Member): void {
    if (member.stirred) return;
    member.stirred = true;
    this.stirred.push(member);
  }

  /** R4: a removed node is remembered while it holds reservations. */
  private dropIfUnused(member: Member): void {
    if (member.leased > 0) return;
    this.byId.delete(member.id);
    this.spare.push(member.index);
  }

  private rank(id: NodeId): number {
    let low = 0;
    let high = this.present.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.present[middle] as Member).id < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const NONE: readonly Member[] = [];

function sameToFilters(a: SchedulableNode, b: SchedulableNode): boolean {
  return (
    a.facts === b.facts &&
    a.state === b.state &&
    a.draining === b.draining &&
    a.slots === b.slots &&
    a.load?.diskFull === b.load?.diskFull &&
    sameLabels(a.labels, b.labels)
  );
}

function sameLabels(a: Labels, b: Labels): boolean {
  const names = Object.keys(a);
  return a === b || (names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]));
}
