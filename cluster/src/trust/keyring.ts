/** The public keys of those who may speak: the coordinator keeps it as its nodes come and go, its bus looks there for each message. */
import type { NodeId } from "@openclaw-cluster/contract/ids";

export class Keyring {
  #keys: ReadonlyMap<string, string> = new Map();

  /** These and nobody else, from the next message on. */
  set(nodes: readonly { readonly id: NodeId; readonly publicKey: string }[]): void {
    this.#keys = new Map(nodes.map(({ id, publicKey }) => [id, publicKey]));
  }

  keyOf(party: string): string | undefined {
    return this.#keys.get(party);
  }
}
