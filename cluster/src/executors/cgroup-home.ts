/**
 * Where this process may make control groups for the attempts of commands: below its own group, in the hierarchies that
 * count memory and processes. Version 1 has one hierarchy for each, version 2 has one for all.
 *
 * H1. Nothing is made outside the group in which this process was started: what lies elsewhere is the system's.
 * H2. In version 2 a group with processes of its own cannot hand controllers on. So this process and its children move
 *     into a group beside the attempts', but only if nobody else is in theirs: then it was given to us (systemd's Delegate=).
 * H3. It says why there can be none, and changes nothing that would matter then.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { descendsFrom } from "./descent.ts";

export type Controller = "memory" | "pids";
const CONTROLLERS: readonly Controller[] = ["memory", "pids"];

/** One folder of the kernel's, in which groups are made. */
export interface Place {
  readonly folder: string;
  readonly version: 1 | 2;
  readonly controls: readonly string[];
}

export type GroupHome = { readonly kind: "found"; readonly places: readonly Place[] } | { readonly kind: "none"; readonly reason: string };

/** Where this process itself goes in version 2. */
const DAEMON = "daemon";

/** `name`: of the folder that is made. `controllers`: other than these two only where a system has no others to try it with. */
export function findGroupHome(name: string, controllers: readonly string[] = CONTROLLERS): GroupHome {
  if (process.platform !== "linux") return { kind: "none", reason: "control groups are Linux's" };
  try {
    const own = ownGroups();
    const found = new Map<string, Place>();
    for (const controller of controllers) {
      const group = own.get(controller);
      const place =
        group === undefined ? versionTwo(own.get(""), name, controllers) : { folder: path.join(group, name), version: 1 as const };
      if (place.version === 1) mkdirSync(place.folder, { recursive: true });
      const known = found.get(place.folder);
      found.set(place.folder, { ...place, controls: [...(known?.controls ?? []), controller] });
    }
    return { kind: "found", places: [...found.values()] };
  } catch (error) {
    return { kind: "none", reason: reasonOf(error) };
  }
}

function reasonOf(error: unknown): string {
  const { code, path: where, message } = error as NodeJS.ErrnoException;
  if (code === "EACCES" || code === "EPERM") return `this user may not make control groups (${where ?? message})`;
  if (code === "EROFS") return "the control groups can only be read here";
  return message;
}

/** The folder of this process's group by controller; under "" that of version 2. */
function ownGroups(): Map<string, string> {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n").flatMap(mountOf);
  const groups = new Map<string, string>();
  for (const line of readFileSync("/proc/self/cgroup", "utf8").trim().split("\n")) {
    const [, names = "", group = "/"] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    for (const controller of names.split(",")) {
      const mount = mounts.find(({ options }) => (controller === "" ? options === undefined : options?.includes(controller)));
      // A mount can begin in the midst of the hierarchy, as in a container.
      if (mount !== undefined) groups.set(controller, path.join(mount.at, path.posix.relative(mount.root, group)));
    }
  }
  return groups;
}

interface Mount {
  readonly root: string;
  readonly at: string;
  /** Of version 1: among them its controllers. */
  readonly options: readonly string[] | undefined;
}

/** `id parent device root at options … - type source options` */
function mountOf(line: string): Mount[] {
  const [own = "", more = ""] = line.split(" - ");
  const [, , , root = "/", at = ""] = own.split(" ");
  const [type, , options = ""] = more.split(" ");
  if (type === "cgroup2") return [{ root, at, options: undefined }];
  return type === "cgroup" ? [{ root, at, options: options.split(",") }] : [];
}

function versionTwo(own: string | undefined, name: string, controllers: readonly string[]): { folder: string; version: 2 } {
  if (own === undefined) throw new Error("there are no control groups here");
  const here = read(own, "cgroup.controllers");
  const missing = controllers.filter((controller) => !here.includes(controller));
  if (missing.length > 0) throw new Error(`the control group of this process has no ${missing.join(" and no ")} to hand on`);
  const folder = path.join(own, name);
  if (existsSync(folder)) return { folder, version: 2 };
  // Only the root of all may have both processes and groups that control something.
  if (existsSync(path.join(own, "cgroup.type"))) moveAside(own);
  const orders = controllers.map((controller) => `+${controller}`).join(" ");
  writeFileSync(path.join(own, "cgroup.subtree_control"), orders);
  mkdirSync(folder);
  writeFileSync(path.join(folder, "cgroup.subtree_control"), orders);
  return { folder, version: 2 };
}

/** H2 */
function moveAside(own: string): void {
  const all = read(own, "cgroup.procs").map(Number);
  if (all.some((pid) => pid !== process.pid && !descendsFrom(pid, process.pid)))
    throw new Error("the control group of this process holds others too; one of its own comes with `service install`");
  const aside = path.join(own, DAEMON);
  mkdirSync(aside, { recursive: true });
  try {
    for (const pid of all) enter(aside, pid);
  } catch (error) {
    for (const pid of all) enter(own, pid);
    rmdirSync(aside);
    throw error;
  }
}

function enter(folder: string, pid: number): void {
  try {
    writeFileSync(path.join(folder, "cgroup.procs"), String(pid));
  } catch (error) {
    // ESRCH: it has ended since.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

const read = (folder: string, file: string): string[] =>
  readFileSync(path.join(folder, file), "utf8")
    .split(/\s+/)
    .filter((word) => word !== "");
