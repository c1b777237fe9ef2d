/**
 * What lies in a nats-server's folder from one start to the next: its streams, JetStream's groups, and the server's name.
 *
 * F1. A server's name stands beside the groups that know it by nothing else (R3 in nats-routes.ts), and goes with them: a folder that
 *     was deleted, and a server that was alone in between, come with a name that nobody has had.
 * F2. A server that joins a cluster brings no streams along, but the one that is told so: JetStream would take what lies here under a
 *     stream's name for a copy of that stream, and mix the two. What is set aside is put back where the server stays alone after all.
 */
import { randomBytes } from "node:crypto";
import { access, mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { readTextFile, writePrivateFile } from "../system/folders.ts";

export const storeFolder = (folder: string): string => join(folder, "streams");
const asideFolder = (folder: string): string => join(folder, "streams.aside");
const groupsFolder = (folder: string): string => join(storeFolder(folder), "jetstream", "SYS", "_js_");
const nameFile = (folder: string): string => join(folder, "server-name");
const NAME = /^ocx-[0-9a-f]{12}$/;

export const newServerName = (): string => `ocx-${randomBytes(6).toString("hex")}`;

/** As one of several: as it was, or one that is kept from now on. */
export async function memberName(folder: string): Promise<string> {
  const kept = (await readTextFile(nameFile(folder)))?.trim() ?? "";
  if (NAME.test(kept)) return kept;
  const name = newServerName();
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writePrivateFile(nameFile(folder), `${name}\n`);
  return name;
}

/** It is alone: should it become one of several again, its groups would wait for the members that they had then. Streams lie elsewhere. */
export async function forgetGroups(folder: string): Promise<void> {
  if (!(await exists(groupsFolder(folder)))) return;
  // The name first: without its groups it must not be heard again.
  await rm(nameFile(folder), { force: true });
  await rm(groupsFolder(folder), { recursive: true, force: true });
}

/** F2. Before its start as one of several; one that has been that already stays as it is. */
export async function setStreamsAside(folder: string): Promise<void> {
  if ((await exists(groupsFolder(folder))) || !(await exists(storeFolder(folder)))) return;
  // What lies there already has been set aside by a start that was cut off.
  if (await exists(asideFolder(folder))) await rm(storeFolder(folder), { recursive: true, force: true });
  else await rename(storeFolder(folder), asideFolder(folder));
}

/** F2. Before its start alone. */
export async function putStreamsBack(folder: string): Promise<void> {
  if (!(await exists(asideFolder(folder)))) return;
  await forgetGroups(folder);
  await rm(storeFolder(folder), { recursive: true, force: true });
  await rename(asideFolder(folder), storeFolder(folder));
}

/** F2. It has become one of several. */
export async function dropAside(folder: string): Promise<void> {
  await rm(asideFolder(folder), { recursive: true, force: true });
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
