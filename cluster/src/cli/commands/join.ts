/**
 * `join <code>`: brings this machine into a cluster with a code that its coordinator has made, as a worker, and goes on as its daemon.
 * When that works, it is probed, and a person sees a check list.
 */
import { hostname } from "node:os";
import type { Client } from "@openclaw-cluster/contract/client/client";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { JoinReply, JoinRequest } from "@openclaw-cluster/contract/join";
import type { Command } from "commander";
import { loadConfig, patchFromText, saveConfig, type ClusterConfig } from "../../system/config.ts";
import { keepUrls } from "../../system/coordinator-urls.ts";
import { foldersOf, makeFolders, readSecret, writePrivateFile, type Folders } from "../../system/folders.ts";
import { isClaimed } from "../../system/home-claim.ts";
import { pinOf, readCertificate } from "../../trust/authority.ts";
import { fingerprintOf } from "../../trust/fingerprint.ts";
import { readJoinCode } from "../../trust/join-code.ts";
import { isReplyProven, joinKey, makeJoinRequest } from "../../trust/join-proof.ts";
import { openJoiningKey, type JoiningKey } from "../../compose/joining-key.ts";
import { examples, type Act } from "../command.ts";
import { readUrl } from "../connection.ts";
import { findCoordinators } from "../discovery.ts";
import { runDaemon } from "../daemon-run.ts";
import { meet } from "../meeting.ts";
import { probeHere, type Probing } from "../probing.ts";
import { NAME_DEFAULT } from "../service/plan.ts";
import { openConnection, type Session } from "../session.ts";
import { remark } from "../terminal.ts";
import { duration } from "../time.ts";
import { installService } from "./service.ts";

interface Options {
  readonly nodeId?: string;
  /** Absent unless --no-start: commander gives defaults of such options before this file is loaded. */
  readonly start?: false;
  readonly service?: true;
  readonly serviceName: string;
  readonly probeTurn?: true;
}

const DEFAULT_PORT = 8888;

export function configure(command: Command, act: Act): void {
  command
    .argument("<code>", "the line that `invite` has printed on the coordinator: ocj1_…")
    .option("--node-id <id>", "this machine's id in the cluster; its host's name unless said")
    .option("--no-start", "only join; start the daemon later, with `start`")
    .option("--service", "let this machine's service manager run the daemon, from now on, instead of this terminal")
    .option("--service-name <name>", "the service's name; a second home's needs one of its own", NAME_DEFAULT)
    .option("--probe-turn", "probe with a short turn of its OpenClaw's agent as well; a model may have to be paid for it");
  examples(command, "join ocj1_…", "join ocj1_… --service", "join ocj1_… --url http://127.0.0.1:8888 --home ~/second --node-id second")
    .addHelpText(
      "after",
      "\nThen it goes on as the daemon, as `start` does, until Ctrl-C; where somebody has to let the machine in first, it waits for that.\n" +
        "This machine makes a key of its own, which never leaves it, and proves that it knows the code. --url names another way to the\n" +
        "coordinator than the code does, as through a tunnel. What may run here is said by policy.yaml in this machine's folder.",
    )
    .action(act(join));
}

async function join(session: Session, options: Options, text: string): Promise<number> {
  const { home, terminal } = session;
  const came = await comeIn(session, options.nodeId, text);
  const { url, fingerprint } = came;
  const { node, cluster, name, state } = came.reply;
  const joined: Joined = { node, cluster, name, state, fingerprint, url, home };
  if (options.start === false) {
    session.show(joined, () => told(session, came));
    return 0;
  }
  const toldAtMs = performance.now();
  remark(terminal, state === "approved" ? `${is(came)}; its key is ${fingerprint}` : waits(came));
  const turn = options.probeTurn === true;
  if (options.service === true) {
    await installService(session, { name: options.serviceName });
    if (state === "pending") {
      session.show(joined, () => `the service runs, and begins to work when ${node} was let in; then: ${session.typed("probe")}\n`);
      return 0;
    }
    return report(session, joined, { probing: await probeHere(session, { turn }), toldAtMs });
  }
  const load = (): Promise<ClusterConfig> => loadConfig({ home, env: terminal.env });
  const up = async (_daemon: unknown, signal: AbortSignal): Promise<void> => {
    report(session, joined, { probing: await probeHere(session, { turn, signal }), toldAtMs });
    if (!session.json)
      remark(terminal, `Ctrl-C ends the daemon. To have it started by this machine itself: ${session.typed("service install")}`);
  };
  return runDaemon(session, { load, up });
}

interface Joined {
  readonly node: string;
  readonly cluster: string;
  readonly name: string;
  readonly state: JoinReply["state"];
  readonly fingerprint: string;
  readonly url: string;
  readonly home: string;
}

/** 1 when something does not work. */
function report(session: Session, joined: Joined, { probing, toldAtMs }: { probing: Probing; toldAtMs: number }): number {
  const { ranAtMs } = probing;
  // Of a machine that had to be let in first, the wait for a person is nobody's work.
  const sinceMs = ranAtMs === undefined || joined.state === "pending" ? undefined : ranAtMs;
  const since =
    sinceMs === undefined
      ? ""
      : `\nA task ran here ${duration(sinceMs)} after the command, of which ${duration(toldAtMs)} went into the join.\n`;
  session.show({ ...joined, ...probing.document, ...(sinceMs !== undefined && { ranAfterMs: sinceMs }) }, () => probing.text + since);
  return probing.works ? 0 : 1;
}

interface Came {
  readonly url: string;
  readonly reply: JoinReply;
  /** Of this machine's key. */
  readonly fingerprint: string;
}

async function comeIn(session: Session, nodeIdText: string | undefined, text: string): Promise<Came> {
  const { home, terminal } = session;
  const folders = foldersOf(home);
  const code = readJoinCode(text);
  if ((await readSecret(folders.adminToken)) !== undefined)
    throw new ClusterError("state_conflict", `${home} is a coordinator's folder; give the worker one of its own with --home`);
  const identity = nodeIdText === undefined ? {} : patchFromText([["nodeId", nodeIdText]]);
  const [planned] = code.urls;
  const place = { roles: ["worker" as const], coordinator: { url: planned } };
  const { nodeId } = await loadConfig({ home, env: terminal.env, flags: { ...identity, ...place } });
  await makeFolders(folders);
  const joining = await keyFor(folders, code.pin);
  const { publicKey, seed } = joining.keys;
  const key = joinKey(code.secret);
  const said = { invite: code.invite, node: nodeId, publicKey, hostname: hostname(), os: process.platform };
  const urls = session.options.url === undefined ? code.urls : [readUrl(session.options.url)];
  const way = { pin: code.pin, key, file: folders.coordinatorAuthority };
  const { url, reply } = await ask(urls, makeJoinRequest(said, key, seed), way).catch((error: unknown) =>
    withOthers(session, code.urls, error),
  );
  await joining.settle(reply.authority);
  await writePrivateFile(folders.coordinatorKey, `${reply.coordinatorKey}\n`);
  await saveConfig(home, { nodeId, roles: ["worker"], coordinator: { url } });
  await keepUrls(folders, { coordinatorKey: reply.coordinatorKey, urls: code.urls, at: url });
  return { url, reply, fingerprint: fingerprintOf(publicKey) };
}

/** A daemon that runs must not find another key, and another coordinator's, in the midst of its work. */
async function keyFor(folders: Folders, pin: string): Promise<JoiningKey> {
  const joining = await openJoiningKey(folders, pin);
  if (joining.isMember || !isClaimed(folders.data)) return joining;
  throw new ClusterError(
    "already_running",
    `the daemon of ${folders.home} runs, for another cluster; end it first, or choose another --home`,
  );
}

const is = ({ reply: { node, name } }: Came): string => `${node} is a node of ${name}`;

const waits = ({ reply: { node, name }, fingerprint }: Came): string =>
  `${node} has joined ${name} and waits to be let in. Its key is ${fingerprint}, and \`nodes\` has to show the same there. ` +
  `On the coordinator: openclaw-cluster nodes approve ${node}`;

function told(session: Session, came: Came): string {
  const start = `start it here: ${session.typed("start")}\n`;
  return came.reply.state === "approved"
    ? `${is(came)}; ${start}Its key is ${came.fingerprint}\n`
    : `${waits(came)}\nThen, or now, ${start}`;
}

/** Nothing answers where the code leads: which coordinators of the tailnet do is told; whether one of them is meant, only a person knows. */
async function withOthers(session: Session, urls: readonly string[], error: unknown): Promise<never> {
  if (!(error instanceof ClusterError) || error.code !== "coordinator_unreachable" || session.options.url !== undefined) throw error;
  const port = Number(new URL(urls[0] ?? "").port) || DEFAULT_PORT;
  const { coordinators } = await findCoordinators({ env: session.terminal.env, port });
  if (coordinators.length === 0) throw error;
  const list = coordinators.map(({ name, url }) => `${url} (${name})`).join(", ");
  throw new ClusterError(
    "coordinator_unreachable",
    `${error.detail}. On this machine's tailnet answers: ${list}. If the code was made there: join <code> --url <address>`,
    { cause: error },
  );
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
