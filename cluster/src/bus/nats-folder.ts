/**
 * What lies in a nats-server's folder from one start to the next: its streams, JetStream's groups, and its name as one of several.
 *
 * F1. The name stands beside the groups that know the server by nothing else (R3 in nats-routes.ts), and goes with them: a folder that
 *     was deleted, and a server that was alone in between, come with a name that nobody has had.
 */
import { randomBytes } from "node:crypto";
import { access, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { readTextFile, writePrivateFile } from "../system/folders.ts";

export const storeFolder = (folder: string): string => join(folder, "streams");
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

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
