/**
 * The sandbox around a command: bubblewrap (`bwrap`), where this machine has it and lets its user make namespaces.
 *
 * B1. Inside, everything can only be read, but the attempt's own folder, its /tmp and what the policy names. Homes, /run
 *     with its sockets, /tmp and the cluster's own folder are not there at all; neither are other processes.
 * B2. What is secret stays hidden, though the policy shows a folder around it: it is covered after that folder is shown.
 * B3. There is no network, the machine's own loopback included, unless the rule says so.
 * B4. It is there only if it was tried, with the same arguments as a command gets.
 */
import { existsSync, mkdirSync, realpathSync, statSync } from "node:fs";
import path from "node:path";
import { runShort } from "../system/short-program.ts";
import { findProgram, type Program } from "./program.ts";

export type Sandbox =
  | { readonly kind: "there"; readonly file: string; readonly more: readonly string[] }
  | { readonly kind: "missing"; readonly reason: string };

export interface Shown {
  /** The attempt's own. */
  readonly folder: string;
  readonly cwd: string;
  readonly program: Program;
  readonly network: boolean;
  readonly folders: readonly string[];
  readonly reads: readonly string[];
}

/** Whose places are hidden. */
export interface Owner {
  /** Of the user that the daemon runs as. */
  readonly userHome: string;
  readonly clusterHome: string;
}

const TRIAL_MS = 10_000;
const TEMPORARY: readonly string[] = ["/tmp", "/var/tmp"];
const PLACES_HIDDEN = ["/home", "/root", "/run", "/mnt", "/media", ...TEMPORARY];
/** Below the user's home; of what is there at all. */
const SECRETS = [
  ".ssh",
  ".gnupg",
  ".aws",
  ".azure",
  ".kube",
  ".docker",
  ".netrc",
  ".npmrc",
  ".git-credentials",
  ".openclaw",
  ".config",
  ".local/share/keyrings",
];
/** Some systems keep their programs there. */
const PROGRAMS_IN_RUN = "/run/current-system";
/** A sandbox that cannot make further ones leaves less of the kernel to attack; older ones do not know the word. */
const WITHOUT_USER_NAMESPACES = ["--unshare-user", "--disable-userns"];
const NAME_SERVERS = "/etc/resolv.conf";

/** Looks, and tries. */
export async function findSandbox(env: Readonly<Record<string, string | undefined>>, owner: Owner, folder: string): Promise<Sandbox> {
  if (process.platform !== "linux") return { kind: "missing", reason: `no sandbox for commands on ${process.platform}` };
  const found = await findProgram("bwrap", env["PATH"] ?? "");
  if (found === undefined) return { kind: "missing", reason: "bubblewrap (bwrap) is not installed" };
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const program = { file: "/bin/sh", real: "/bin/sh" };
  const shown = { folder, cwd: folder, program, network: false, folders: [], reads: [] };
  let reason = "";
  for (const more of [WITHOUT_USER_NAMESPACES, []]) {
    const sandbox = { kind: "there", file: found.file, more } as const;
    const [bwrap, ...args] = [...boxed(sandbox, shown, owner), program.file, "-c", ":"];
    const tried = await runShort([bwrap, ...args], { env, timeoutMs: TRIAL_MS });
    if (tried.kind === "ended" && tried.code === 0) return sandbox;
    reason =
      tried.kind === "ended" ? (tried.stderr.trim().split("\n").at(-1) ?? "") : tried.kind === "failed" ? tried.reason : "it is gone";
  }
  return { kind: "missing", reason: `bubblewrap does not work here: ${reason}` };
}

/** What stands before the program: bwrap and its arguments. Makes the attempt's folder for /tmp. */
export function boxed(sandbox: Extract<Sandbox, { kind: "there" }>, shown: Shown, owner: Owner): string[] {
  const hidden = outermost([...PLACES_HIDDEN, owner.userHome, owner.clusterHome, ...secretsOf(owner)].flatMap(real));
  const tmp = path.join(shown.folder, ".tmp");
  mkdirSync(tmp, { recursive: true, mode: 0o700 });
  const { file, real: realFile } = shown.program;
  const written = (shown.folders.length > 0 ? shown.folders : [shown.cwd]).flatMap(real);
  const seen = [...shown.reads, shown.cwd].flatMap(real);
  const uncovered = outermost(secretsOf(owner).filter((secret) => isWithinAny(secret, [...written, ...seen])));
  const folders = new Set([...real(shown.folder), shown.folder]);
  return [
    sandbox.file,
    ...["--unshare-all", ...sandbox.more, ...(shown.network ? ["--share-net"] : [])],
    ...["--die-with-parent", "--new-session", "--cap-drop", "ALL"],
    ...["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"],
    ...hidden.flatMap(hide),
    // On the disk and not in memory, which is not counted everywhere.
    ...TEMPORARY.filter((place) => existsSync(place)).flatMap((place) => ["--bind", tmp, place]),
    ...show(PROGRAMS_IN_RUN),
    ...(shown.network
      ? real(NAME_SERVERS)
          .filter((place) => isWithinAny(place, hidden))
          .flatMap(show)
      : []),
    ...seen.flatMap(show),
    ...[realFile, ...(file === realFile ? [] : [file])].filter((one) => isWithinAny(one, hidden)).flatMap(show),
    ...written.flatMap((place) => ["--bind", place, place]),
    ...uncovered.flatMap(hide),
    ...[...folders].flatMap((place) => ["--bind", shown.folder, place]),
    // What is written to a place that hides another would go into memory; its mount points are made by here.
    ...[...hidden.filter((place) => !TEMPORARY.includes(place) && !written.includes(place)), ...uncovered]
      .filter(isFolder)
      .flatMap((place) => ["--remount-ro", place]),
    ...["--chdir", shown.cwd, "--"],
  ];
}

const show = (place: string): string[] => ["--ro-bind-try", place, place];
const hide = (place: string): string[] => (isFolder(place) ? ["--tmpfs", place] : ["--ro-bind", "/dev/null", place]);
const isFolder = (place: string): boolean => statSync(place, { throwIfNoEntry: false })?.isDirectory() === true;

/** Where it is with links followed; nowhere if it is not there. A link's target is as secret as the link. */
function real(place: string): string[] {
  try {
    return [realpathSync(place)];
  } catch {
    // Not there, or not to be reached by this user: then neither by what it starts.
    return [];
  }
}

function secretsOf({ userHome, clusterHome }: Owner): string[] {
  return [clusterHome, ...SECRETS.map((name) => path.join(userHome, name))].flatMap(real);
}

const isWithin = (place: string, folder: string): boolean => place === folder || folder === "/" || place.startsWith(`${folder}/`);
const isWithinAny = (place: string, folders: readonly string[]): boolean => folders.some((folder) => isWithin(place, folder));

/** Without those that lie in another of them. */
function outermost(places: readonly string[]): string[] {
  return [...new Set(places)].filter((place, _index, all) => !all.some((other) => other !== place && isWithin(place, other)));
}
