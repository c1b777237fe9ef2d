/** Doctor's checks of folders, disk and ports. */
import { access, constants, stat, statfs } from "node:fs/promises";
import { createServer } from "node:net";
import path from "node:path";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import type { Retention } from "../system/config.ts";
import { membershipOf, readSecret, type Folders } from "../system/folders.ts";
import { isOpenToOthers } from "../system/private-mode.ts";
import { readTrust } from "../system/trust-file.ts";
import { fail, ok, warn, type Check } from "./check.ts";

const DISK_WARN_MIB = 1_024;
const ANSWERS_MS = 2_000;

/** Writable, and closed to other users; `secrets`: further files, that the settings name. */
export async function checkFolders(folders: Folders, secrets: readonly string[] = []): Promise<Check> {
  const name = "folders";
  const open: string[] = [];
  for (const folder of [folders.home, folders.data, folders.logs]) {
    const found = await modeOf(folder);
    if (found === undefined) continue;
    if (!(await isWritable(folder))) return fail(name, `${folder} is not writable`, `Make it yours: chown -R "$USER" ${folder}`);
    if (isOpenToOthers(found)) open.push(`chmod 700 ${folder}`);
  }
  for (const secret of new Set([...ownSecrets(folders), ...secrets])) {
    if (isOpenToOthers((await modeOf(secret)) ?? 0)) open.push(`chmod 600 ${secret}`);
  }
  if (open.length > 0) {
    return fail(name, "other users of this machine can read what is in them", `Close them: ${open.join("; ")}`);
  }
  const made = (await modeOf(folders.home)) !== undefined;
  return ok(name, made ? folders.home : `${folders.home}, not made yet: \`start\` does that`);
}

/** An authority's certificate is no secret, but who can write it chooses whom this machine believes. */
function ownSecrets(folders: Folders): string[] {
  const { secrets, adminToken, coordinatorSeed, authorityKey, authority } = folders;
  return [...membershipOf(folders), secrets, adminToken, coordinatorSeed, authorityKey, authority];
}

/** `floorMiB`: below it the machine takes no new work. `retention`: of the finished tasks that lie on this disk. */
export async function checkDisk(home: string, floorMiB: number, retention?: Retention): Promise<Check> {
  const { bavail, bsize } = await statfs(await nearest(home));
  const freeMiB = Math.floor((bavail * bsize) / 1_048_576);
  const found = `${freeMiB} MiB free for ${home}`;
  const advice = `Free some space${fewer(retention)}.`;
  if (freeMiB < floorMiB) return fail("disk", found, advice);
  return freeMiB < DISK_WARN_MIB ? warn("disk", found, advice) : ok("disk", found);
}

/** Where they are kept by number, the days say little. */
function fewer(retention: Retention | undefined): string {
  if (retention === undefined) return "";
  const { days, tasks } = retention;
  const [setting, less] = tasks > 0 ? ["retention.tasks", Math.ceil(tasks / 2)] : ["retention.days", Math.ceil(days / 4)];
  return `, or keep fewer finished tasks: \`openclaw-cluster config set ${setting} ${less}\``;
}

/** Free, or held by the daemon of this folder, which left its address there. */
export async function checkPort(name: string, host: string, port: number, folders: Folders): Promise<Check> {
  if (port === 0) return ok(name, "a free one at each start");
  const taken = await bindError(host, port);
  if (taken === undefined) return ok(name, `${host}:${port} is free`);
  if (taken !== "EADDRINUSE") return fail(name, `cannot listen at ${host}:${port} (${taken})`, "Choose another address in cluster.yaml.");
  const running = await readSecret(folders.apiUrl);
  if (running !== undefined && (await isCoordinator(running, folders)))
    return ok(name, `${host}:${port} is in use, and the daemon of this folder runs at ${running}`);
  return warn(name, `${host}:${port} is taken by another program`, "Stop that program, or choose another port in cluster.yaml.");
}

async function isCoordinator(url: string, { authority }: Folders): Promise<boolean> {
  const channel = nodeTransport(await readTrust(authority))(new URL(url));
  try {
    const { status, text } = await channel.send({ method: "GET", path: "/healthz", headers: {}, idleMs: ANSWERS_MS });
    return status === 200 && (JSON.parse(text) as { status?: unknown }).status === "ok";
  } catch {
    // Whatever is at that address, it does not speak as ours do.
    return false;
  } finally {
    channel.close();
  }
}

async function bindError(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve(undefined)));
  });
}

async function modeOf(file: string): Promise<number | undefined> {
  try {
    return (await stat(file)).mode;
  } catch {
    // Not there, or not to be looked at: the second shows itself when it is written to.
    return undefined;
  }
}

async function isWritable(folder: string): Promise<boolean> {
  return access(folder, constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** The folder itself, or the one above it that is there. */
async function nearest(folder: string): Promise<string> {
  let at = folder;
  while ((await modeOf(at)) === undefined && path.dirname(at) !== at) at = path.dirname(at);
  return at;
}
