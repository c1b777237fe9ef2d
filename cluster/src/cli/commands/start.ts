/** `start`: runs this machine's daemon in the foreground until Ctrl-C. */
import { rm } from "node:fs/promises";
import type { Command } from "commander";
import { loadConfig, patchFromText, type ClusterConfig } from "../../system/config.ts";
import { foldersOf, writePrivateFile, type Folders } from "../../system/folders.ts";
import { collect, examples, type Act } from "../command.ts";
import { failureOf, tellFailure } from "../failure.ts";
import { INTERRUPTED } from "../follow.ts";
import { readSetting } from "../ids.ts";
import type { Session } from "../session.ts";
import { facts } from "../table.ts";
import { plain, remark } from "../terminal.ts";

interface Options {
  readonly port?: string;
  readonly role?: readonly string[];
  readonly nodeId?: string;
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
    .option("--node-id <id>", "this machine's id in the cluster, kept from the first start on")
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
  const folders = foldersOf(home);
  const config = await loadConfig({ home, flags: patchFromText(settings(options)), env: terminal.env });
  const { startDaemon } = await import("../../compose/compose.ts");

  const asked = Promise.withResolvers<void>();
  const giveUp = new AbortController();
  const ask = (): void => {
    giveUp.abort();
    asked.resolve();
  };
  let times = 0;
  const interrupt = terminal.onInterrupt(() => {
    times += 1;
    if (times > 1) terminal.exit(INTERRUPTED);
    remark(terminal, "stopping in good order; once more ends it at once");
    ask();
  });
  if (options.untilInputEnds === true) void terminal.readInput().finally(ask);
  try {
    const { signal } = giveUp;
    const daemon = await startDaemon({ config, home, env: terminal.env, signal, onProgress: (text) => remark(terminal, plain(text)) });
    if (daemon === undefined) return 0;
    try {
      if (daemon.apiUrl !== undefined) await writePrivateFile(folders.apiUrl, `${daemon.apiUrl}\n`);
      tellUp(session, daemon, config, folders);
      // Asked here by a person or from afar by the coordinator, it ends well; by itself it does not.
      const fault = await Promise.race([asked.promise, daemon.dismissed, daemon.failed]);
      return fault === undefined ? 0 : tellFailure(terminal, false, { ...failureOf(fault), exit: 1 });
    } finally {
      await daemon.stop();
      await rm(folders.apiUrl, { force: true });
    }
  } finally {
    interrupt.stop();
  }
}

function settings({ port, role, nodeId, set = [] }: Options): (readonly [string, string])[] {
  return [
    ...set.map(readSetting),
    ...(port === undefined ? [] : [["api.port", port] as const]),
    ...(role === undefined ? [] : [["roles", role.join(",")] as const]),
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
      ["coordinator", apiUrl === undefined ? config.coordinator.url : undefined],
      ["token", token],
      ["folder", folders.home],
    ]);
    const tries = ["status", 'run "Say hello" --follow', "ps --watch"].map((line) => `  ${session.typed(line)}\n`).join("");
    return `OpenClaw Cluster is up.\n\n${list}\nTry, in another terminal:\n${tries}\n`;
  });
}
