/** `start`: runs this machine's daemon in the foreground until Ctrl-C. */
import type { Command } from "commander";
import { chooseStore } from "../../compose/choose-store.ts";
import { loadConfig, patchFromText, type ClusterConfig } from "../../system/config.ts";
import { configuredUrls } from "../../system/coordinator-urls.ts";
import { foldersOf, type Folders } from "../../system/folders.ts";
import { collect, examples, type Act } from "../command.ts";
import { runDaemon } from "../daemon-run.ts";
import { readSetting } from "../ids.ts";
import type { Session } from "../session.ts";
import { facts } from "../table.ts";

interface Options {
  readonly port?: string;
  readonly role?: readonly string[];
  readonly witness?: true;
  readonly nodeId?: string;
  readonly store?: string;
  readonly etcdEndpoints?: string;
  readonly set?: readonly string[];
  readonly untilInputEnds?: true;
}

interface Up {
  readonly node: string;
  readonly roles: readonly string[];
  readonly apiUrl?: string;
}

export function configure(command: Command, act: Act): void {
  command
    .option("--port <port>", "the API's port; 0 takes a free one")
    .option("--role <role>", "coordinator or worker; may be repeated; both unless said", collect)
    .option("--witness", "as `--role witness`: a third vote only, on a machine that `promote <node> --witness` has made one")
    .option("--node-id <id>", "this machine's id in the cluster, kept from the first start on")
    .option("--store <kind>", "where tasks are kept, sqlite or etcd, kept from the first start on; afterwards `store migrate` moves them")
    .option("--etcd-endpoints <urls>", "of an etcd that runs already, with commas; without it this machine runs a member of its own")
    .option("--set <field=value>", "any setting of cluster.yaml, for this run; may be repeated", collect)
    .option("--until-input-ends", "stop in good order when stdin ends, for a program that starts this and must not leave it behind");
  examples(command, "start", "start --home ~/second --port 8899 --set nats.port=4299 --set log.level=debug")
    .addHelpText(
      "after",
      "\nCtrl-C stops it in good order: running tasks may end, the rest goes back to the queue. A second Ctrl-C ends it at once.",
    )
    .action(act(start));
}

async function start(session: Session, options: Options): Promise<number> {
  const { terminal, home } = session;
  const { store: kind, etcdEndpoints: endpoints } = options;
  if (kind !== undefined || endpoints !== undefined) await chooseStore({ home, env: terminal.env, kind, endpoints });
  const load = (): Promise<ClusterConfig> => loadConfig({ home, flags: patchFromText(settings(options)), env: terminal.env });
  const { untilInputEnds = false } = options;
  const up = async (daemon: Up): Promise<void> => tellUp(session, daemon, await load(), foldersOf(home));
  return runDaemon(session, { load, untilInputEnds, up });
}

function settings({ port, role, witness, nodeId, set = [] }: Options): (readonly [string, string])[] {
  return [
    ...set.map(readSetting),
    ...(port === undefined ? [] : [["api.port", port] as const]),
    ...(role === undefined ? [] : [["roles", role.join(",")] as const]),
    ...(witness === true ? [["roles", "witness"] as const] : []),
    ...(nodeId === undefined ? [] : [["nodeId", nodeId] as const]),
  ];
}

function tellUp(session: Session, { node, roles, apiUrl }: Up, config: ClusterConfig, folders: Folders): void {
  const { terminal } = session;
  const token = apiUrl === undefined ? undefined : folders.adminToken;
  const up = { node, roles, ...(apiUrl !== undefined && { apiUrl, tokenFile: token }), home: folders.home, pid: process.pid };
  session.show(up, () => {
    const list = facts(terminal, [
      ["node", `${node} (${roles.join(" and ")})`],
      ["API", apiUrl],
      ["coordinator", apiUrl === undefined ? configuredUrls(config.coordinator).join(", ") : undefined],
      ["token", token],
      ["folder", folders.home],
    ]);
    const tries = ["status", 'run "Say hello" --follow', "ps --watch"].map((line) => `  ${session.typed(line)}\n`).join("");
    return `OpenClaw Cluster is up.\n\n${list}\nTry, in another terminal:\n${tries}\n`;
  });
}
