/**
 * Where tasks with the same key are or were: `sticky` ones like to follow the last, `spread` ones to avoid each other.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";

/** Sticky keys remembered; the one not seen for longest goes first. */
const STICKY_KEYS_KEPT = 10_000;

export class StickyKeys {
  private readonly nodes = new Map<string, NodeId>();

  last(key: string): NodeId | undefined {
    return this.nodes.get(key);
  }

  note(key: string, node: NodeId): void {
    this.nodes.delete(key);
    this.nodes.set(key, node);
    if (this.nodes.size <= STICKY_KEYS_KEPT) return;
    for (const oldest of this.nodes.keys()) {
      this.nodes.delete(oldest);
      return;
    }
  }
}

/** Leased tasks by spread key and node. A key is kept while a task of it is leased. */
export class Siblings {
  private readonly byKey = new Map<string, Map<NodeId, number>>();

  /** The share of all leased siblings that is on this node. */
  share(key: string, node: NodeId): number {
    const counts = this.byKey.get(key);
    const here = counts?.get(node);
    if (counts === undefined || here === undefined) return 0;
    let all = 0;
    for (const count of counts.values()) all += count;
    return here / all;
  }

  add(key: string, node: NodeId): void {
    let counts = this.byKey.get(key);
    if (counts === undefined) this.byKey.set(key, (counts = new Map()));
    counts.set(node, (counts.get(node) ?? 0) + 1);
  }

  remove(key: string, node: NodeId): void {
    const counts = this.byKey.get(key);
    const count = counts?.get(node);
    if (counts === undefined || count === undefined) return;
    if (count > 1) counts.set(node, count - 1);
    else counts.delete(node);
    if (counts.size === 0) this.byKey.delete(key);
  }
}
