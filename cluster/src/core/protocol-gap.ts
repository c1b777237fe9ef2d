/** A node whose build and this one have no version of the protocol in common (contract/protocol.ts, P2): what is said of it. */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { NodeFacts } from "@openclaw-cluster/contract/node";
import { isOlder, PROTOCOL, protocolText, spoken } from "@openclaw-cluster/contract/protocol";

/** `detail` completes the sentence "<node> …". undefined: they understand each other. */
export function protocolGap(id: NodeId, facts: NodeFacts | undefined): { readonly detail: string; readonly remedy: string } | undefined {
  // One that has said nothing of itself has not said that either.
  if (facts === undefined || spoken(PROTOCOL, facts.protocol) !== undefined) return undefined;
  return {
    detail: `speaks ${protocolText(facts.protocol)}, and the coordinator ${protocolText(PROTOCOL)}`,
    remedy: `update openclaw-cluster on ${isOlder(PROTOCOL, facts.protocol) ? "the control nodes" : id}`,
  };
}
