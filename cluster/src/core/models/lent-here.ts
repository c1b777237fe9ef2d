/** A model that a node tells of among its facts, for the rules that are the router's too. */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { LentModel } from "@openclaw-cluster/contract/models";
import type { LentHere } from "@openclaw-cluster/contract/node";

/** Behind which endpoint it is, and whether it is loaded, no rule about names or abilities asks. */
export const asLent = (model: LentHere, node: NodeId): LentModel => ({ ...model, node, endpoint: "", server: "openai", state: "cold" });
