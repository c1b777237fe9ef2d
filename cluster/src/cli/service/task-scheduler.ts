/**
 * Windows' Task Scheduler: a task that starts at the user's logon. Written from Microsoft's documentation; not tried on Windows
 * yet. What schtasks prints is in the system's language, so only its exit codes are read, and whether the daemon runs is asked
 * of its folder.
 */
import path from "node:path";
import { isClaimed } from "../../system/home-claim.ts";
import { foldersOf, makeFolders } from "../../system/folders.ts";
import { logonTask, logonTaskHomeMark } from "./logon-task.ts";
import { caller, must, ownUnit, removeUnit, writeUnit, type Service, type ServiceGround } from "./service.ts";

const INSTEAD = "It belongs to Windows; look into %SystemRoot%\\System32.";
/** Settings reach the daemon from the user's own variables there, not from the task. */
const ENVIRONMENT = "variables are those of your account: put settings into cluster.yaml (config set), or set them with setx";

export function taskSchedulerService(ground: ServiceGround): Service {
  const { plan, env, userHome, userName } = ground;
  const { home, name } = plan;
  const folders = foldersOf(home);
  // The scheduler keeps its own copy; by this one we know what we gave it. Beside those of other homes, whose names it could take.
  const file = path.join(env["LOCALAPPDATA"] || path.join(userHome, "AppData", "Local"), "openclaw-cluster", `${name}.task.xml`);
  const text = logonTask(plan, env["USERDOMAIN"] ? `${env["USERDOMAIN"]}\\${userName}` : userName);
  const call = caller(env, INSTEAD);
  const present = (): Promise<string | undefined> => ownUnit(file, home, logonTaskHomeMark(home), "utf16le");
  const known = async (): Promise<boolean> => (await call("schtasks", "/Query", "/TN", name)).code === 0;

  return {
    kind: "Task Scheduler (at logon)",
    file,
    text,
    async install() {
      const [before, there, runs] = [await present(), await known(), isClaimed(folders.data)];
      if (before === text && there && runs) return { changed: false, notes: [] };
      await makeFolders(folders);
      // UTF-16 with its mark, as the first line says.
      await writeUnit(file, Buffer.from(`\uFEFF${text}`, "utf16le"));
      await must(call, "schtasks", "/Create", "/TN", name, "/XML", file, "/F");
      if (!runs) await must(call, "schtasks", "/Run", "/TN", name);
      return {
        changed: true,
        notes: [...(runs ? ["the daemon that runs now goes on as it was started; the task counts from the next logon"] : []), ENVIRONMENT],
      };
    },
    async uninstall() {
      const there = (await present()) !== undefined && (await known());
      if (there) {
        // It may not be running, which is no failure.
        await call("schtasks", "/End", "/TN", name);
        await must(call, "schtasks", "/Delete", "/TN", name, "/F");
      }
      await removeUnit(file);
      return { removed: there };
    },
    async status() {
      const before = await present();
      const installed = (await known()) && before !== undefined;
      return {
        installed,
        state: installed && isClaimed(folders.data) ? "running" : "stopped",
        ...(installed && { current: before === text }),
        notes: [],
      };
    },
  };
}
