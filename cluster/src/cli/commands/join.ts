/** `join <url>`: lets this machine's key into a cluster elsewhere and makes this home a worker's. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Command } from "commander";
import { loadConfig, patchFromText, saveConfig } from "../../system/config.ts";
import { foldersOf, makeFolders, readSecret, writePrivateFile } from "../../system/folders.ts";
import { loadNodeKeys } from "../../trust/keys.ts";
import { examples, type Act } from "../command.ts";
import { givenToken, readUrl } from "../connection.ts";
import { openConnection, type Session } from "../session.ts";
import { remark } from "../terminal.ts";

export function configure(command: Command, act: Act): void {
  command
    .argument("<url>", "the coordinator's API, as its `start` printed it")
    .option("--node-id <id>", "this machine's id in the cluster; its host's name unless said");
  examples(command, "join http://127.0.0.1:8888 --token-file ~/.openclaw/cluster/admin.token --home ~/second --node-id second")
    .addHelpText(
      "after",
      "\nThe token is the coordinator's admin.token; this home keeps a copy (0600). Bring it over a safe way and use an address\n" +
        "inside your tailnet, because plain HTTP hides nothing. Single-use join codes that replace it come later.",
    )
    .action(act(join));
}

async function join(session: Session, options: { nodeId?: string }, address: string): Promise<void> {
  const { home, terminal } = session;
  const folders = foldersOf(home);
  const url = readUrl(address);
  if ((await readSecret(folders.adminToken)) !== undefined) {
    throw new ClusterError("state_conflict", `${home} is a coordinator's folder; give the worker one of its own with --home`);
  }
  const token = await givenToken(session.options, terminal.env, (text) => remark(terminal, text));
  if (token === undefined) throw new ClusterError("unauthorized", "to join, the coordinator's token is needed: --token-file <file>");

  const place = { roles: ["worker" as const], coordinator: { url, tokenFile: folders.coordinatorToken } };
  const identity = options.nodeId === undefined ? {} : patchFromText([["nodeId", options.nodeId]]);
  const { nodeId } = await loadConfig({ home, env: terminal.env, flags: { ...identity, ...place } });
  await makeFolders(folders);
  const { publicKey } = await loadNodeKeys(folders.nodeSeed);
  const client = await openConnection({ url, token });
  try {
    const enrolled = await client.enrol({ id: nodeId, publicKey });
    await writePrivateFile(folders.coordinatorToken, `${token}\n`);
    await saveConfig(home, { nodeId, ...place });
    session.show(
      { node: enrolled.node, cluster: enrolled.cluster, url, home },
      () => `${enrolled.node} is let into cluster ${enrolled.cluster}; start it here: ${session.typed("start")}\n`,
    );
  } finally {
    await client.close();
  }
}
