/** `join <code>`: brings this machine into a cluster with a code that its coordinator has made, as a worker. */
import { hostname } from "node:os";
import type { Client } from "@openclaw-cluster/contract/client/client";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { JoinReply, JoinRequest } from "@openclaw-cluster/contract/join";
import type { Command } from "commander";
import { loadConfig, patchFromText, saveConfig } from "../../system/config.ts";
import { foldersOf, makeFolders, readSecret, writePrivateFile } from "../../system/folders.ts";
import { pinOf, readCertificate } from "../../trust/authority.ts";
import { readJoinCode } from "../../trust/join-code.ts";
import { isReplyProven, joinKey, makeJoinRequest } from "../../trust/join-proof.ts";
import { loadNodeKeys } from "../../trust/keys.ts";
import { examples, type Act } from "../command.ts";
import { readUrl } from "../connection.ts";
import { meet } from "../meeting.ts";
import { openConnection, type Session } from "../session.ts";

export function configure(command: Command, act: Act): void {
  command
    .argument("<code>", "the line that `invite` has printed on the coordinator: ocj1_…")
    .option("--node-id <id>", "this machine's id in the cluster; its host's name unless said");
  examples(command, "join ocj1_…", "join ocj1_… --url http://127.0.0.1:8888 --home ~/second --node-id second")
    .addHelpText(
      "after",
      "\nThis machine makes a key of its own, which never leaves it, and proves that it knows the code. --url names another way to the\n" +
        "coordinator than the code does, as through a tunnel. What may run here is said by policy.yaml in this machine's folder.",
    )
    .action(act(join));
}

async function join(session: Session, options: { nodeId?: string }, text: string): Promise<void> {
  const { home, terminal } = session;
  const folders = foldersOf(home);
  const code = readJoinCode(text);
  if ((await readSecret(folders.adminToken)) !== undefined)
    throw new ClusterError("state_conflict", `${home} is a coordinator's folder; give the worker one of its own with --home`);
  const identity = options.nodeId === undefined ? {} : patchFromText([["nodeId", options.nodeId]]);
  const [planned] = code.urls;
  const place = { roles: ["worker" as const], coordinator: { url: planned } };
  const { nodeId } = await loadConfig({ home, env: terminal.env, flags: { ...identity, ...place } });
  await makeFolders(folders);
  const { publicKey, seed } = await loadNodeKeys(folders.nodeSeed);
  const key = joinKey(code.secret);
  const said = { invite: code.invite, node: nodeId, publicKey, hostname: hostname(), os: process.platform };
  const urls = session.options.url === undefined ? code.urls : [readUrl(session.options.url)];
  const way = { pin: code.pin, key, file: folders.coordinatorAuthority };
  const { url, reply } = await ask(urls, makeJoinRequest(said, key, seed), way);
  await writePrivateFile(folders.coordinatorAuthority, reply.authority);
  await writePrivateFile(folders.coordinatorKey, `${reply.coordinatorKey}\n`);
  await saveConfig(home, { nodeId, roles: ["worker"], coordinator: { url } });
  const { node, cluster, name, state } = reply;
  session.show({ node, cluster, name, state, url, home }, () => told(session, reply));
}

function told(session: Session, { node, name, state }: JoinReply): string {
  const start = `start it here: ${session.typed("start")}\n`;
  if (state === "approved") return `${node} is a node of ${name}; ${start}`;
  return `${node} has joined ${name} and waits to be let in. On the coordinator: openclaw-cluster nodes approve ${node}\nThen, or now, ${start}`;
}

interface Way {
  readonly pin: string;
  readonly key: string;
  /** Where the authority's certificate will be kept. */
  readonly file: string;
}

/** The first address that answers; any other fault than that nothing answers there ends it. */
async function ask(urls: readonly string[], request: JoinRequest, way: Way): Promise<{ url: string; reply: JoinReply }> {
  const silent: ClusterError[] = [];
  for (const url of urls) {
    try {
      const trust = url.startsWith("https:") ? { trust: await meet(url, way.pin, way.file) } : {};
      const client = await openConnection({ url, ...trust });
      return { url, reply: await proven(client, request, way) };
    } catch (error) {
      if (!(error instanceof ClusterError) || error.code !== "coordinator_unreachable") throw error;
      silent.push(error);
    }
  }
  throw silent.length === 1 ? silent[0] : new ClusterError("coordinator_unreachable", silent.map(({ detail }) => detail).join("; "));
}

async function proven(client: Client, request: JoinRequest, { key, pin }: Way): Promise<JoinReply> {
  try {
    const reply = await client.join(request);
    const authority = readCertificate(reply.authority);
    if (isReplyProven(reply, request, key) && authority !== undefined && pinOf(authority) === pin) return reply;
    throw new ClusterError("forbidden", "whoever answers at this address does not know the code: it is not the coordinator that made it");
  } finally {
    await client.close();
  }
}
