/**
 * What a machine that leaves its cluster still owes, and what goes with it.
 *
 * L1. Nothing that was worked out here is thrown away: results without a verdict are delivered before the node goes, and where
 *     nobody takes them any more their file is set aside, not deleted.
 * L2. The settings are the last to go. Whatever dies before, leaving again goes on where it stopped.
 */
import { rename, rm } from "node:fs/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { readConfigFile } from "../system/config-file.ts";
import { loadConfig, saveConfig } from "../system/config.ts";
import { failpoint } from "../system/failpoint.ts";
import { foldersOf, membershipOf, readSecret, type Environment, type Folders } from "../system/folders.ts";
import { joiningKeys } from "./joining-key.ts";
import { owedIn, spoolFile } from "../worker/spool.ts";
import { startDaemon, type Daemon } from "./compose.ts";

/** The node's id. Throws where this machine is in no cluster, or is what its cluster stands on. */
export async function checkMayLeave({ home, env }: { home: string; env: Environment }): Promise<string> {
  const folders = foldersOf(home);
  const { coordinator } = await readConfigFile(folders.config);
  const adminToken = await readSecret(folders.adminToken);
  if (adminToken === undefined && !coordinator?.url)
    throw new ClusterError("state_conflict", `${home} is in no cluster; there is nothing to leave`);
  const { nodeId, roles } = await loadConfig({ home, env });
  if (adminToken === undefined && !roles.includes("coordinator")) return nodeId;
  throw new ClusterError(
    "state_conflict",
    `${nodeId} runs the coordinator, and without it there is no cluster; let the other nodes leave, stop its daemon, and delete ${home}`,
  );
}

/** Results without a verdict, and turns that a later life could go on with. */
export const owedBy = ({ worker }: Folders): number => owedIn(spoolFile(worker));

/** Where no daemon runs that could deliver what is owed, this process is the daemon for a while. */
export async function startForTheRest({ home, env, signal }: { home: string; env: Environment; signal: AbortSignal }): Promise<Daemon> {
  const daemon = await startDaemon({ config: await loadConfig({ home, env }), home, env, signal });
  if (daemon !== undefined) return daemon;
  throw new ClusterError("coordinator_unreachable", "the node could not come in once more to deliver what it has; nothing was changed");
}

/** The home holds nothing of the cluster afterwards. Gives where what is owed was set aside. To be called under the home's claim. */
export async function putAway(home: string): Promise<string | undefined> {
  const folders = foldersOf(home);
  const aside = owedBy(folders) > 0 ? `${folders.worker}.left-${Date.now()}` : undefined;
  if (aside === undefined) await rm(folders.worker, { recursive: true, force: true });
  else await rename(folders.worker, aside);
  for (const file of [...membershipOf(folders), ...(await joiningKeys(home))]) await rm(file, { force: true });
  failpoint("leave.cleared");
  await saveConfig(home, { roles: ["worker"], coordinator: { url: null, tokenFile: null } });
  return aside;
}
