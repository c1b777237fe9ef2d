/**
 * Where a node keeps what is its own. One folder, the cluster's home, holds everything of one daemon; a second daemon
 * on the same machine gets another home. The cache is shared: what lies there can be fetched again.
 *
 * F1. Folders are 0700 and secrets 0600; a secret's file is written whole or not at all.
 * F2. On Windows modes mean nothing: there the user's profile folder is closed to others by its access list.
 */
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import nodePath from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { syncFolder } from "./synced-folder.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Folders {
  readonly home: string;
  /** Settings, for people to edit. */
  readonly config: string;
  /** What this node lets the cluster run on it. */
  readonly policy: string;
  /** Secrets of this node's own, for programs that its policy gives them to. */
  readonly secrets: string;
  readonly data: string;
  /** The coordinator's store. */
  readonly database: string;
  readonly logs: string;
  /** Copies of the coordinator's database, unless the settings name another place. */
  readonly backups: string;
  /** The local administrator's API token. */
  readonly adminToken: string;
  /** On a machine that only works: the token for its coordinator. */
  readonly coordinatorToken: string;
  /** The secret half of this node's key; it never leaves the machine. */
  readonly nodeSeed: string;
  /** The key that is to take its place (trust/own-key.ts). */
  readonly nodeSeedNext: string;
  /** The worker's spool and the folders of its attempts. */
  readonly worker: string;
  /** Of a coordinator: the secret half of the key with which it signs. */
  readonly coordinatorSeed: string;
  /** The coordinator's authority: its key, and its certificate, by which others know its servers. */
  readonly authorityKey: string;
  readonly authority: string;
  /** Of a machine that only works: the public key of the coordinator that it obeys, and the certificate of its authority. */
  readonly coordinatorKey: string;
  readonly coordinatorAuthority: string;
  /** And where control nodes are, as that coordinator has told (coordinator-urls.ts). */
  readonly coordinators: string;
  /** The address of the running daemon's API, kept while it runs. */
  readonly apiUrl: string;
  /** Of the endpoint for models on this machine's loopback: its key, and the port that it was given. */
  readonly modelsKey: string;
  readonly modelsPort: string;
}

export interface Machine {
  readonly platform: NodeJS.Platform;
  readonly userHome: string;
}

const thisMachine = (): Machine => ({ platform: process.platform, userHome: homedir() });

/** `--home`, else $OPENCLAW_CLUSTER_HOME, else $OPENCLAW_STATE_DIR/cluster, else ~/.openclaw/cluster. Absolute. */
export function clusterHome(options: { home?: string | undefined; env: Environment }, machine: Machine = thisMachine()): string {
  const path = pathsOf(machine);
  const stateFolder = options.env["OPENCLAW_STATE_DIR"];
  const chosen =
    options.home ||
    options.env["OPENCLAW_CLUSTER_HOME"] ||
    (stateFolder ? path.join(stateFolder, "cluster") : path.join(machine.userHome, ".openclaw", "cluster"));
  return path.resolve(expandUserHome(chosen, machine));
}

export function foldersOf(home: string, path: Pick<typeof nodePath, "join"> = nodePath): Folders {
  return {
    home,
    config: path.join(home, "cluster.yaml"),
    policy: path.join(home, "policy.yaml"),
    secrets: path.join(home, "secrets.yaml"),
    data: path.join(home, "data"),
    database: path.join(home, "data", "cluster.db"),
    logs: path.join(home, "logs"),
    backups: path.join(home, "backups"),
    adminToken: path.join(home, "admin.token"),
    coordinatorToken: path.join(home, "coordinator.token"),
    nodeSeed: path.join(home, "node.seed"),
    nodeSeedNext: path.join(home, "node.seed.next"),
    worker: path.join(home, "data", "worker"),
    coordinatorSeed: path.join(home, "coordinator.seed"),
    authorityKey: path.join(home, "data", "authority.key"),
    authority: path.join(home, "data", "authority.pem"),
    coordinatorKey: path.join(home, "coordinator.key"),
    coordinatorAuthority: path.join(home, "data", "coordinator.pem"),
    coordinators: path.join(home, "data", "coordinators.json"),
    apiUrl: path.join(home, "data", "api.url"),
    modelsKey: path.join(home, "models.key"),
    modelsPort: path.join(home, "data", "models.port"),
  };
}

/** What makes this home a node of its cluster, all of it: files that are deleted when it leaves. */
export function membershipOf(folders: Folders): readonly string[] {
  const { nodeSeed, nodeSeedNext, coordinatorToken, coordinatorKey, coordinatorAuthority, coordinators } = folders;
  return [nodeSeed, nodeSeedNext, coordinatorToken, coordinatorKey, coordinatorAuthority, coordinators];
}

/** For what can be fetched again: downloaded programs, compiled code. */
export function cacheFolder(env: Environment, machine: Machine = thisMachine()): string {
  const path = pathsOf(machine);
  if (env["OPENCLAW_CLUSTER_CACHE"]) return path.resolve(expandUserHome(env["OPENCLAW_CLUSTER_CACHE"], machine));
  if (machine.platform === "darwin") return path.join(machine.userHome, "Library", "Caches", "openclaw-cluster");
  if (machine.platform === "win32") {
    return path.join(env["LOCALAPPDATA"] || path.join(machine.userHome, "AppData", "Local"), "openclaw-cluster", "cache");
  }
  return path.join(env["XDG_CACHE_HOME"] || path.join(machine.userHome, ".cache"), "openclaw-cluster");
}

/** Today's log file of the daemon; its name sorts by day. */
export function logFile(folders: Folders, at: Date): string {
  return nodePath.join(folders.logs, `openclaw-cluster-${at.toISOString().slice(0, 10)}.log`);
}

/** Makes the home and what is in it, and closes it to others, also where it was open before (F1). */
export async function makeFolders(folders: Folders): Promise<void> {
  for (const folder of [folders.home, folders.data, folders.logs]) {
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await chmod(folder, 0o700);
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? "";
      if (code === "ENOSPC") throw new ClusterError("storage_full", `The disk that holds ${folder} is full.`, { cause });
      const what = NO_FOLDER[code] ?? `the system says ${code}`;
      throw new ClusterError("config_invalid", `${folder} cannot be this node's folder: ${what}. Name another with --home.`, { cause });
    }
  }
}

const NO_FOLDER: Readonly<Record<string, string>> = {
  EEXIST: "there is a file of that name",
  ENOTDIR: "a part of its path is a file",
  EACCES: "you may not write there",
  EPERM: "you may not write there",
  EROFS: "that disk is read-only",
};

/** Replaces the file at once: a reader, or a crash, meets the old text or the new one, never a part; after it also a power cut the new one. */
export async function writePrivateFile(path: string, text: string | Uint8Array): Promise<void> {
  const draft = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    await writeFile(draft, text, { mode: 0o600, flush: true });
    await rename(draft, path);
    syncFolder(nodePath.dirname(path));
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

/** The secret in a one-line file; undefined when there is no such file or nothing in it. */
export async function readSecret(path: string): Promise<string | undefined> {
  const text = await readTextFile(path);
  return text?.trim() || undefined;
}

/** undefined when there is no such file, or no such folder for it. */
export async function readTextFile(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) return undefined;
    throw error;
  }
}

const pathsOf = (machine: Machine): typeof nodePath.posix => (machine.platform === "win32" ? nodePath.win32 : nodePath.posix);

/** A shell expands `~`, a variable in a service's file or on Windows does not go through one. */
function expandUserHome(path: string, machine: Machine): string {
  if (path === "~") return machine.userHome;
  return /^~[/\\]/.test(path) ? pathsOf(machine).join(machine.userHome, path.slice(2)) : path;
}
