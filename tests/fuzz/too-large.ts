/** What no party can send, however much it wants to: its own bus refuses what is larger than a message may be, and nats-server any other's. */
import { ClusterError } from "@openclaw-cluster/contract/errors";

export async function unlessTooLarge(send: () => void | Promise<void>): Promise<void> {
  try {
    await send();
  } catch (error) {
    if (!(error instanceof ClusterError && error.code === "payload_too_large")) throw error;
  }
}
