/** systemd: a unit of the user's own manager, or one of the machine's that runs as a user. */
import path from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import {
  caller,
  must,
  notWritten,
  ownUnit,
  removeUnit,
  saidBy,
  writeUnit,
  type Call,
  type Service,
  type ServiceGround,
  type ServiceState,
} from "./service.ts";
import { systemdHomeMark, systemdUnit } from "./systemd-unit.ts";

/** A restart waits for the old daemon, which may take its TimeoutStopSec. */
const CALL_MS_MAX = 90_000;
const SYSTEM_FOLDER = "/etc/systemd/system";
const INSTEAD = "Where there is no systemd, let what else starts programs there run `openclaw-cluster start`.";
const PROPERTIES = "LoadState,ActiveState,SubState,UnitFileState,MainPID,ExecMainStatus";

export function systemdService(ground: ServiceGround, systemFolder = SYSTEM_FOLDER): Service {
  const { plan, env, userHome } = ground;
  const { name, user, home } = plan;
  const unit = `${name}.service`;
  const own = path.join(env["XDG_CONFIG_HOME"] || path.join(userHome, ".config"), "systemd", "user");
  const file = path.join(user === undefined ? own : systemFolder, unit);
  const text = systemdUnit(plan);
  const call = caller(withRuntimeFolder(ground), INSTEAD, CALL_MS_MAX);
  const scope = user === undefined ? ["--user"] : [];
  const systemctl = (...argv: string[]): Promise<string> => must(call, "systemctl", ...scope, ...argv);
  const show = async (): Promise<Record<string, string>> => properties(await systemctl("show", unit, `--property=${PROPERTIES}`));
  const present = (): Promise<string | undefined> => ownUnit(file, home, systemdHomeMark(home));

  return {
    kind: user === undefined ? "systemd (user unit)" : `systemd (system unit, runs as ${user})`,
    file,
    text,
    async install() {
      await reach(call, scope);
      const before = await present();
      const { ActiveState: active, UnitFileState: enabled } = await show();
      const notes = user === undefined ? await lingerNotes(call, ground.userName) : [];
      if (before === text && active === "active" && enabled === "enabled") return { changed: false, notes };
      if (before !== text) {
        await writeUnit(file, text).catch((cause: unknown) => {
          const mayNot = ["EACCES", "EPERM"].includes((cause as NodeJS.ErrnoException).code ?? "");
          throw user !== undefined && mayNot ? needsRoot(ground, path.dirname(file)) : notWritten(file, cause);
        });
      }
      await systemctl("daemon-reload");
      await systemctl("enable", unit);
      // Also one that gave up over its exit code, or waits for its next try.
      await systemctl("restart", unit);
      return { changed: true, notes };
    },
    async uninstall() {
      const before = await present();
      if (before === undefined) return { removed: false };
      await reach(call, scope);
      await systemctl("disable", "--now", unit);
      await removeUnit(file);
      await systemctl("daemon-reload");
      // Else a unit that had failed stays in the list of those.
      await call("systemctl", ...scope, "reset-failed", unit);
      return { removed: true };
    },
    async status() {
      const before = await present();
      const current = before !== undefined && before.includes(execLine(text));
      try {
        await reach(call, scope);
        return {
          ...stateOf(await show(), before !== undefined, `journalctl ${[...scope, "-u", unit].join(" ")} -n 20`),
          ...(before !== undefined && { current }),
        };
      } catch (error) {
        if (!(error instanceof ClusterError)) throw error;
        return { installed: before !== undefined, state: "unknown", notes: [error.detail] };
      }
    },
  };
}

function stateOf(shown: Record<string, string>, installed: boolean, journal: string): ServiceState {
  const { ActiveState: active, SubState: sub, MainPID: pid, ExecMainStatus: code, UnitFileState: enabled } = shown;
  const state = active === "active" ? "running" : sub === "auto-restart" ? "restarting" : active === "failed" ? "failed" : "stopped";
  const ended = state !== "running" && installed && code !== undefined && code !== "0";
  return {
    installed,
    state,
    ...(state === "running" && Number(pid) > 0 && { pid: Number(pid) }),
    ...(ended && { exitCode: Number(code) }),
    notes: [
      ...(installed && enabled !== "enabled" ? [`it does not start by itself (${enabled || "not enabled"}): service install`] : []),
      ...(ended ? [`what it said last: ${journal}`] : []),
    ],
  };
}

const execLine = (text: string): string => /^ExecStart=.*$/m.exec(text)?.[0] ?? "";

/** Whoever came by `su` or a script often has no address of his own manager in his environment, though it runs. */
function withRuntimeFolder({ env, uid }: ServiceGround): ServiceGround["env"] {
  return env["XDG_RUNTIME_DIR"] ? env : { ...env, XDG_RUNTIME_DIR: `/run/user/${uid}` };
}

/** Asks the manager itself: a unit's file alone starts nothing. */
async function reach(call: Call, scope: readonly string[]): Promise<void> {
  const run = await call("systemctl", ...scope, "show", "--property=Version");
  if (run.code === 0) return;
  const next =
    scope.length > 0
      ? "Log in as this user (at the machine or with ssh, not with su or sudo) and try again; for a machine without such logins: service install --system."
      : INSTEAD;
  throw new ClusterError("service_failed", `systemd does not answer here: ${saidBy(run).replace(/\.$/, "")}. ${next}`);
}

async function lingerNotes(call: Call, userName: string): Promise<string[]> {
  const run = await call("loginctl", "show-user", userName, "--property=Linger").catch(() => undefined);
  if (run?.code === 0 && run.stdout.trim() === "Linger=yes") return [];
  return [
    `it starts when you log in, and ends with your last session; to run from the machine's start on: loginctl enable-linger ${userName}`,
  ];
}

function needsRoot({ plan }: ServiceGround, folder: string): ClusterError {
  const argv = [plan.node, plan.program, "service", "install", "--system", "--user", plan.user ?? "", "--home", plan.home];
  const line = argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(" ");
  return new ClusterError("service_failed", `only root may write ${folder}. Run: sudo ${line}`);
}

function properties(text: string): Record<string, string> {
  return Object.fromEntries(
    text.split("\n").flatMap((line) => (line.includes("=") ? [[line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]] : [])),
  );
}
