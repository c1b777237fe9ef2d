/** `service`: hands this machine's daemon to the system's own service manager, takes it back, and says how it does. */
import { userInfo } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Command } from "commander";
import { loadConfig } from "../../system/config.ts";
import { foldersOf } from "../../system/folders.ts";
import { isClaimed } from "../../system/home-claim.ts";
import { runShort } from "../../system/short-program.ts";
import { examples, type Act } from "../command.ts";
import { launchdService } from "../service/launchd.ts";
import { leftOut, NAME_DEFAULT, planService } from "../service/plan.ts";
import type { Installed, Service, ServiceGround } from "../service/service.ts";
import { systemdService } from "../service/systemd.ts";
import { taskSchedulerService } from "../service/task-scheduler.ts";
import type { Session } from "../session.ts";
import { facts } from "../table.ts";
import { remark } from "../terminal.ts";

interface Options {
  readonly name: string;
  readonly system?: true;
  readonly user?: string;
  readonly print?: true;
}

const PROGRAM = fileURLToPath(new URL("../../../bin/openclaw-cluster.mjs", import.meta.url));
const GETENT_MS_MAX = 10_000;

export function configure(command: Command, act: Act): void {
  const parts = (name: string, summary: string): Command =>
    command
      .command(name)
      .summary(summary)
      .description(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`)
      .option("--name <name>", "of the service; a second home's needs one of its own", NAME_DEFAULT)
      .option("--system", "systemd: a unit of the machine instead of yours; needs root")
      .option("--user <user>", "whose daemon it is, with --system; who called sudo unless said");
  examples(
    parts("install", "write a unit for systemd, launchd or the Task Scheduler, and start it").option("--print", "only print the unit"),
    "service install",
    "service install --print",
    "service install --home ~/second --name openclaw-second",
  ).action(act(install));
  examples(parts("uninstall", "stop the service and remove its unit"), "service uninstall").action(act(uninstall));
  examples(parts("status", "say whether the service is there and runs"), "service status", "service status --json").action(act(status));
  examples(command, "service install", "service status");
}

async function install(session: Session, options: Options): Promise<void> {
  if (options.print === true) {
    const { file, text } = await chosen(session, options);
    return session.show({ file, text }, () => text);
  }
  const { kind, file, changed, notes } = await installService(session, options);
  session.show({ kind, file, changed, notes }, () =>
    changed
      ? `installed and started: ${file}\nHow it does: ${session.typed("service status")}\n`
      : `${file} is installed and runs already\n`,
  );
}

/** Also for `join --service`. Tells its remarks. */
export async function installService(
  session: Session,
  options: Options,
): Promise<Installed & { readonly kind: string; readonly file: string }> {
  const { terminal } = session;
  const service = await chosen(session, options);
  // What a daemon would refuse is told here, to a person, and not again and again to a log.
  await loadConfig({ home: await homeOf(session, options), env: terminal.env });
  for (const { name, instead } of leftOut(terminal.env))
    remark(terminal, `note: ${name} does not go into a unit, which others can read; ${instead}`);
  if (/[/\\]_npx[/\\]/.test(PROGRAM))
    remark(terminal, "note: this program lies in npx's cache, which may be emptied; npm install -g openclaw-cluster lasts");
  const before = await service.status();
  if (before.state !== "running" && isClaimed(foldersOf(await homeOf(session, options)).data))
    remark(terminal, "note: a daemon of this folder runs already, started otherwise; the service takes over when you have stopped it");
  const { changed, notes } = await service.install();
  for (const note of notes) remark(terminal, `note: ${note}`);
  return { kind: service.kind, file: service.file, changed, notes };
}

/** This home's service of that name, where there is one. */
export async function installedService(session: Session, name: string): Promise<Service | undefined> {
  try {
    const service = await chosen(session, { name });
    return (await service.status()).installed ? service : undefined;
  } catch (error) {
    // Of another folder, or of a system whose service manager is not known here: not ours to take away.
    if (error instanceof ClusterError && (error.code === "state_conflict" || error.code === "service_failed")) return undefined;
    throw error;
  }
}

async function uninstall(session: Session, options: Options): Promise<void> {
  const service = await chosen(session, options);
  const { removed } = await service.uninstall();
  session.show({ file: service.file, removed }, () =>
    removed ? `stopped and removed: ${service.file}\n` : `there is no such service (${service.file})\n`,
  );
}

/** 1 unless it is there and runs. */
async function status(session: Session, options: Options): Promise<number> {
  const { terminal } = session;
  const { kind, file, status: ask } = await chosen(session, options);
  const found = await ask();
  const home = await homeOf(session, options);
  const daemon = isClaimed(foldersOf(home).data);
  const stale = found.current === false ? ["its unit starts another program, Node.js or folder than this one: service install"] : [];
  const notes = [...found.notes, ...stale];
  const { installed, state, pid, exitCode } = found;
  session.show({ name: options.name, kind, file, home, ...found, notes, daemon }, () =>
    facts(terminal, [
      ["service", `${options.name}, ${kind}`],
      ["file", installed ? file : `${file} (not installed)`],
      [
        "state",
        `${state}${pid === undefined ? "" : `, process ${pid}`}${exitCode === undefined ? "" : `, ended with exit code ${exitCode}`}`,
      ],
      ["daemon", daemon ? `runs in ${home}` : `none runs in ${home}`],
      ...notes.map((note) => ["note", note] as const),
    ]),
  );
  return installed && state === "running" ? 0 : 1;
}

async function chosen(session: Session, options: Options): Promise<Service> {
  const { env } = session.terminal;
  const { username, uid } = userInfo();
  const user = options.system === true ? (await systemUser(session, options)).name : undefined;
  if (user === undefined && options.user !== undefined) throw new ClusterError("usage", "--user goes with --system");
  const home = await homeOf(session, options);
  const plan = planService({
    name: options.name,
    node: process.execPath,
    program: PROGRAM,
    home,
    env,
    ...(user !== undefined && { user }),
  });
  const userHome = env["HOME"] || env["USERPROFILE"] || userInfo().homedir;
  return serviceFor(process.platform, { plan, env, userHome, uid, userName: username });
}

export function serviceFor(platform: NodeJS.Platform, ground: ServiceGround): Service {
  if (platform === "linux") return systemdService(ground);
  if (ground.plan.user !== undefined) throw new ClusterError("usage", "--system is for systemd, on Linux");
  if (platform === "darwin") return launchdService(ground);
  if (platform === "win32") return taskSchedulerService(ground);
  throw new ClusterError(
    "service_failed",
    `no service manager of ${platform} is known here. Let what starts programs there run \`openclaw-cluster start\`.`,
  );
}

interface SystemUser {
  readonly name: string;
  readonly home: string;
}

/** Under sudo the caller, whose home it is then; root only where somebody says so. */
async function systemUser({ terminal: { env } }: Session, { user }: Options): Promise<SystemUser> {
  const own = userInfo();
  const name = user ?? env["SUDO_USER"] ?? (own.uid === 0 ? undefined : own.username);
  if (name === undefined) throw new ClusterError("usage", "--system needs --user <user>: tasks should not run as root unasked");
  if (name === own.username) return { name, home: own.homedir };
  const found = await runShort(["getent", "passwd", name], { env, timeoutMs: GETENT_MS_MAX });
  const home = found.kind === "ended" && found.code === 0 ? found.stdout.split(":")[5]?.trim() : undefined;
  if (!home) throw new ClusterError("usage", `--user ${name}: there is no such user here`);
  return { name, home };
}

/** With --system that of the user, unless the folder was named: root's own is nobody's. */
async function homeOf(session: Session, options: Options): Promise<string> {
  const { env } = session.terminal;
  const named = session.options.home ?? env["OPENCLAW_CLUSTER_HOME"] ?? env["OPENCLAW_STATE_DIR"];
  if (options.system !== true || named) return session.home;
  return path.join((await systemUser(session, options)).home, ".openclaw", "cluster");
}
