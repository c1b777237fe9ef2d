/** launchd of macOS: an agent of the user's own, which runs while he is logged in. Written from Apple's documentation; not tried on a Mac yet. */
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { foldersOf, makeFolders } from "../../system/folders.ts";
import { errorLog, labelOf, launchAgent, launchAgentHomeMark } from "./launch-agent.ts";
import { STOP_S_MAX } from "./plan.ts";
import { caller, must, ownUnit, removeUnit, saidBy, writeUnit, type Service, type ServiceGround, type ServiceState } from "./service.ts";

const CALL_MS_MAX = 60_000;
const LOOK_MS = 500;
const INSTEAD = "launchctl belongs to macOS; look into /bin.";

export function launchdService(ground: ServiceGround): Service {
  const { plan, env, userHome, uid } = ground;
  const { home, name } = plan;
  const label = labelOf(name);
  const domain = `gui/${uid}`;
  const target = `${domain}/${label}`;
  const file = path.join(userHome, "Library", "LaunchAgents", `${label}.plist`);
  const text = launchAgent(plan);
  const call = caller(env, INSTEAD, CALL_MS_MAX);
  const present = (): Promise<string | undefined> => ownUnit(file, home, launchAgentHomeMark(home));
  const loaded = async (): Promise<string | undefined> => {
    const { code, stdout } = await call("launchctl", "print", target);
    return code === 0 ? stdout : undefined;
  };
  /** `bootout` answers before the daemon has ended, and until then its label is taken. */
  const unload = async (): Promise<void> => {
    if ((await loaded()) === undefined) return;
    await call("launchctl", "bootout", target);
    const giveUpAt = performance.now() + (STOP_S_MAX + 5) * 1_000;
    while ((await loaded()) !== undefined) {
      if (performance.now() > giveUpAt)
        throw new ClusterError("service_failed", `launchd has not ended ${label} in ${STOP_S_MAX + 5} s; try again`);
      await delay(LOOK_MS);
    }
  };

  return {
    kind: "launchd (agent)",
    file,
    text,
    async install() {
      const before = await present();
      if (before === text && (await loaded()) !== undefined) return { changed: false, notes: [] };
      // launchd opens the log there before the daemon could make the folder.
      await makeFolders(foldersOf(home));
      await unload();
      await writeUnit(file, text);
      // Somebody may have switched it off once; that would outlast the file.
      await must(call, "launchctl", "enable", target);
      const run = await call("launchctl", "bootstrap", domain, file);
      if (run.code !== 0)
        throw new ClusterError(
          "service_failed",
          `launchd does not take ${file}: ${saidBy(run)}. Log in at the machine's screen once and try again there.`,
        );
      return { changed: true, notes: ["it runs while you are logged in; macOS starts no agent before that"] };
    },
    async uninstall() {
      const before = await present();
      await unload();
      await removeUnit(file);
      return { removed: before !== undefined };
    },
    async status() {
      const before = await present();
      const shown = await loaded();
      const installed = before !== undefined && shown !== undefined;
      const current = before?.includes(programArguments(text)) ?? false;
      return { ...stateOf(shown, home), installed, ...(installed && { current }) };
    },
  };
}

const programArguments = (text: string): string => /<array>[^]*?<\/array>/.exec(text)?.[0] ?? "";

function stateOf(shown: string | undefined, home: string): Omit<ServiceState, "installed"> {
  const field = (name: string): string | undefined => new RegExp(`^\\s*${name} = (.+)$`, "m").exec(shown ?? "")?.[1];
  const [pid, code] = [Number(field("pid")), Number(field("last exit code"))];
  if (field("state") === "running") return { state: "running", ...(pid > 0 && { pid }), notes: [] };
  if (!(code > 0)) return { state: "stopped", notes: [] };
  return { state: "restarting", exitCode: code, notes: [`what it said last: ${errorLog(home)}`] };
}
