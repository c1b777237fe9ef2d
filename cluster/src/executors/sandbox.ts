/**
 * The sandbox around a command: bubblewrap (`bwrap`), where this machine has it and lets its user make namespaces.
 *
 * B1. Inside, everything can only be read, but the attempt's own folder, its /tmp and what the policy names. Homes, /run
 *     with its sockets, /tmp and the cluster's own folder are not there at all; neither are other processes.
 * B2. What is secret stays hidden, though the policy shows a folder around it: it is covered after that folder is shown.
 * B3. There is no network, the machine's own loopback included, unless the rule says so.
 * B4. It is there only if it was tried, with the same arguments as a command gets.
 * B5. Nothing is shown by a path that commands of other tasks may have changed, before or meanwhile: shown-places.ts.
 */
import { existsSync, mkdirSync, realpathSync, statSync } from "node:fs";
import path from "node:path";
import { runShort } from "../system/short-program.ts";
import { FIRST_DESCRIPTOR } from "./launch.ts";
import { findProgram } from "./program.ts";
import { isWithinAny, openPlaces, outermost, type Shown, type Unsafe } from "./shown-places.ts";

export type Sandbox =
  | { readonly kind: "there"; readonly file: string; readonly more: readonly string[] }
  | { readonly kind: "missing"; readonly reason: string };

/** What stands before a program, and what it needs to be open: in this order, from FIRST_DESCRIPTOR on. */
export interface Boxed {
  readonly kind: "boxed";
  readonly before: readonly [string, ...string[]];
  readonly descriptors: readonly number[];
  /** Once the program was started, or was not. */
  close(): void;
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
/** A trial that shows nothing would not tell whether bubblewrap takes descriptors: those of before the summer of 2024 do not. */
const SHOWN_IN_TRIAL = "/etc";
const TRIAL = `exec ${FIRST_DESCRIPTOR}<"$1"; shift; exec "$@"`;
const NAME_SERVERS = "/etc/resolv.conf";

/** Looks, and tries. */
export async function findSandbox(env: Readonly<Record<string, string | undefined>>, owner: Owner, folder: string): Promise<Sandbox> {
  if (process.platform !== "linux") return { kind: "missing", reason: `no sandbox for commands on ${process.platform}` };
  const found = await findProgram("bwrap", env["PATH"] ?? "");
  if (found === undefined) return { kind: "missing", reason: "bubblewrap (bwrap) is not installed" };
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const program = { file: "/bin/sh", real: "/bin/sh" };
  const shown = { folder, cwd: folder, program, network: false, folders: [], reads: [SHOWN_IN_TRIAL], writable: [] };
  let reason = "";
  for (const more of [WITHOUT_USER_NAMESPACES, []]) {
    const sandbox = { kind: "there", file: found.file, more } as const;
    const box = boxed(sandbox, shown, owner);
    if (box.kind === "unsafe") return { kind: "missing", reason: box.reason };
    box.close();
    const tried = await runShort([program.file, "-c", TRIAL, "sh", SHOWN_IN_TRIAL, ...box.before, program.file, "-c", ":"], {
      env,
      timeoutMs: TRIAL_MS,
    });
    if (tried.kind === "ended" && tried.code === 0) return sandbox;
    reason =
      tried.kind === "ended" ? (tried.stderr.trim().split("\n").at(-1) ?? "") : tried.kind === "failed" ? tried.reason : "it is gone";
  }
  return { kind: "missing", reason: `bubblewrap does not work here: ${reason}` };
}

/** Makes the attempt's folder for /tmp, and opens what is shown. */
export function boxed(sandbox: Extract<Sandbox, { kind: "there" }>, shown: Shown, owner: Owner): Boxed | Unsafe {
  const secrets = secretsOf(owner);
  const hidden = outermost([...PLACES_HIDDEN, owner.userHome, owner.clusterHome, ...secrets].flatMap(real));
  const places = openPlaces(shown, { hidden, secrets: [...secrets, ...real(owner.userHome)] });
  if (places.kind === "unsafe") return places;
  const tmp = path.join(shown.folder, ".tmp");
  mkdirSync(tmp, { recursive: true, mode: 0o700 });
  const covers = places.covers.filter(isFolder);
  const uncovered = outermost(secrets.filter((secret) => isWithinAny(secret, places.seen)));
  const written = places.mounts.flatMap((mount) => (mount.written ? [mount.at] : []));
  const folders = new Set([...real(shown.folder), shown.folder]);
  const before = [
    sandbox.file,
    ...["--unshare-all", ...sandbox.more, ...(shown.network ? ["--share-net"] : [])],
    ...["--die-with-parent", "--new-session", "--cap-drop", "ALL"],
    ...["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"],
    ...[...hidden, ...covers].flatMap(hide),
    // On the disk and not in memory, which is not counted everywhere.
    ...TEMPORARY.filter((place) => existsSync(place)).flatMap((place) => ["--bind", tmp, place]),
    ...show(PROGRAMS_IN_RUN),
    ...(shown.network
      ? real(NAME_SERVERS)
          .filter((place) => isWithinAny(place, hidden))
          .flatMap(show)
      : []),
    ...places.mounts.flatMap(({ at, written: isWritten }, index) => [
      isWritten ? "--bind-fd" : "--ro-bind-fd",
      String(FIRST_DESCRIPTOR + index),
      at,
    ]),
    ...uncovered.flatMap(hide),
    ...[...folders].flatMap((place) => ["--bind", shown.folder, place]),
    // What is written to a place that hides another would go into memory; its mount points are made by here.
    ...[...hidden.filter((place) => !TEMPORARY.includes(place) && !written.includes(place)), ...covers, ...uncovered]
      .filter(isFolder)
      .flatMap((place) => ["--remount-ro", place]),
    ...["--chdir", shown.cwd, "--"],
  ] as const;
  return { kind: "boxed", before, descriptors: places.mounts.map(({ descriptor }) => descriptor), close: places.close };
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
