/** Who may have certified this machine's coordinator, where that speaks TLS. */
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ClusterConfig } from "../system/config.ts";
import type { Folders } from "../system/folders.ts";
import { readTrust } from "../system/trust-file.ts";

/** As `join` has left it, unless the settings name another file; without one the system's authorities count. A coordinator has its own. */
export async function coordinatorTrust({ coordinator, roles }: ClusterConfig, folders: Folders): Promise<Trust | undefined> {
  const { caFile } = coordinator;
  const kept = roles.includes("coordinator") ? folders.authority : folders.coordinatorAuthority;
  const trust = await readTrust(caFile ?? kept);
  if (trust === undefined && caFile !== undefined) throw new ClusterError("config_invalid", `coordinator.caFile: there is no ${caFile}`);
  return trust;
}
