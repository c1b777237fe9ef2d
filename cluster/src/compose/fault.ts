/** Why a daemon cannot start or go on, in the closed table's words: what the rooms below could not say by themselves. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { StoreBroken, StoreFenced } from "../store/store.ts";

export function asFault(error: unknown): ClusterError {
  if (error instanceof ClusterError) return error;
  if (error instanceof StoreBroken) return new ClusterError("store_failed", error.message, { cause: error });
  if (error instanceof StoreFenced) {
    return new ClusterError("already_running", `Another coordinator has taken this database over (${error.message}).`, { cause: error });
  }
  return new ClusterError("internal", `The daemon met a fault of its own: ${String(error)}`, { cause: error });
}
