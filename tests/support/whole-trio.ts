/** Whether three control nodes are all there: one leads, the others follow closely, and so do etcd's members and the bus's servers. */
import type { Client } from "@openclaw-cluster/contract/client/client";

/** Of a control node that follows. */
const LAG_MS_MAX = 5_000;

/** For `until`: undefined while it is not so. */
export async function isWhole(client: Client): Promise<true | undefined> {
  const { control = [], store, bus } = await client.cluster();
  const here = control.filter(({ state, lagMs = 0 }) => (state === "leader" || state === "standby") && lagMs < LAG_MS_MAX);
  const members = store.members?.filter(({ state }) => state === "leader" || state === "follower") ?? [];
  const leads = here.filter(({ state }) => state === "leader").length === 1;
  return leads && here.length === 3 && members.length === 3 && bus.servers?.length === 3 ? true : undefined;
}
