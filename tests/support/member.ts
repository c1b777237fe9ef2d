/** A machine of a test cluster that has come in with a code, by the public command: its own home, its own key, no token. */
import path from "node:path";
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { Running } from "../../scripts/child.ts";
import { runCommand } from "../../scripts/daemon.ts";
import type { TestCluster } from "./daemon.ts";

export interface Member {
  readonly id: NodeId;
  readonly home: string;
  /** Has ended when its daemon has: `join` goes on as that. */
  readonly joined: Running;
  /** A command on that machine. */
  run(...argv: string[]): Running;
}

/** `terms` of the invitation, `flags` of the join. */
export async function joinMember(
  cluster: TestCluster,
  id: string,
  { terms = ["--approve"], flags = [] }: { terms?: readonly string[]; flags?: readonly string[] } = {},
): Promise<Member> {
  const home = path.join(cluster.folder, id);
  const env = { OPENCLAW_CLUSTER_HOME: home, OPENCLAW_CLUSTER_OPENCLAW: "off" };
  const { code } = (await cluster.cli("invite", ...terms, "--json")).json as { code: string };
  const run = (...argv: string[]): Running => runCommand(argv, { env });
  return { id: NodeId.parse(id), home, joined: run("join", code, "--node-id", id, ...flags), run };
}
