/**
 * What a machine is told when it becomes a control node, and what it forgets when it is one no more.
 *
 * H1. The settings come last, in one write: killed before that, a machine is what it was, and is told again.
 * H2. Keys of another cluster that this machine once led are put aside, never overwritten.
 * H3. A machine that is demoted holds nothing that opens the cluster from its next start on, wherever it was killed: its servers, which
 *     write until they are stopped, have their folders swept by that start.
 */
import { existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import path from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { z } from "zod";
import { reachOf } from "../system/address.ts";
import { saveConfig } from "../system/config.ts";
import { LAN, TAILSCALE } from "../system/config-schema.ts";
import { readTextFile, writePrivateFile, type Folders } from "../system/folders.ts";
import { readNodeKeys } from "../trust/keys.ts";
import type { Ground } from "./ground.ts";
import { IDENTITY_COPIES } from "./identity.ts";
import { keepMembers, membersFile } from "./own-etcd.ts";
import { backupFolder } from "./restore.ts";
import { natsFolder } from "./stand.ts";
import { jsonOf } from "../system/json-of.ts";

const Pem = z.string().max(64 * 1_024);

const Handover = z.object({
  clusterName: z.string(),
  coordinatorSeed: z.string().max(128),
  authorityKey: Pem,
  authority: Pem,
  /** Where a new control node listens, in the words of api.host; absent: it goes on listening where it does. */
  reach: z.enum([TAILSCALE, LAN]).optional(),
  store: z.object({
    prefix: z.string(),
    /** An etcd that somebody runs already, and what it wants to see. */
    named: z
      .object({ endpoints: z.array(z.url()).max(16), authority: Pem.optional(), certificate: Pem.optional(), key: Pem.optional() })
      .optional(),
    /** Else the members of the cluster's own, which the machine joins. */
    members: z.array(z.url()).max(16).optional(),
  }),
  token: z.string().max(256),
  witness: z.boolean(),
});
type Handover = z.infer<typeof Handover>;

export interface Telling {
  readonly witness: boolean;
  readonly token: string;
  /** Client URLs of the cluster's own etcd; none where another is used. */
  readonly members: readonly string[];
}

/** As text. */
export async function tellHandover({ config, folders }: Ground, { witness, token, members }: Telling): Promise<string> {
  const { endpoints, prefix, caFile, certFile, keyFile } = config.store;
  const named =
    endpoints.length === 0 ? undefined : { endpoints, ...(await readAll({ authority: caFile, certificate: certFile, key: keyFile })) };
  const reach = reachFrom(config.api.host);
  const told: Handover = {
    clusterName: config.clusterName,
    coordinatorSeed: await needed(folders.coordinatorSeed),
    authorityKey: await needed(folders.authorityKey),
    authority: await needed(folders.authority),
    ...(reach !== undefined && { reach }),
    store: { prefix, ...(named === undefined ? { members: [...members] } : { named }) },
    token,
    witness,
  };
  return JSON.stringify(told);
}

/** Throws bad_request where the text is not one. */
export async function takeHandover({ config, folders }: Ground, text: string): Promise<void> {
  const read = Handover.safeParse(jsonOf(text));
  if (!read.success)
    throw new ClusterError("bad_request", "what a control node has to know came in a form that this version does not know");
  const { clusterName, coordinatorSeed, authorityKey, authority, reach, store, token, witness } = read.data;
  if ((await readTextFile(folders.coordinatorSeed))?.trim() !== coordinatorSeed.trim()) await putAside(folders);
  await writePrivateFile(folders.authorityKey, authorityKey);
  await writePrivateFile(folders.authority, authority);
  await writePrivateFile(folders.coordinatorSeed, coordinatorSeed);
  await writePrivateFile(folders.adminToken, `${token}\n`);
  if (store.members !== undefined) await keepMembers(membersFile(folders.data), store.members);
  await saveConfig(folders.home, {
    roles: witness ? ["witness"] : ["coordinator", "worker"],
    clusterName,
    ...(reach !== undefined && reachOf(config.api.host) === "loopback" && { api: { host: reach } }),
    store: { kind: "etcd", prefix: store.prefix, ...(store.named !== undefined && (await keepNamed(folders, store.named))) },
  });
}

/** A worker again, or for the first time: where its own node came in by itself, it has never joined. */
export async function forgetControl({ config, folders }: Pick<Ground, "config" | "folders">, urls: readonly string[]): Promise<void> {
  const keys = readNodeKeys(folders.coordinatorSeed);
  const authority = await readTextFile(folders.authority);
  await writePrivateFile(demotedFile(folders), "");
  if (keys !== undefined) await writePrivateFile(folders.coordinatorKey, `${keys.publicKey}\n`);
  if (authority !== undefined) await writePrivateFile(folders.coordinatorAuthority, authority);
  await saveConfig(folders.home, {
    roles: ["worker"],
    coordinator: { url: urls.length === 1 ? (urls[0] as string) : [...urls] },
    store: null,
  } as unknown as Parameters<typeof saveConfig>[1]);
  await sweepKeys(config, folders);
}

/** H3, at a start, before anything else. */
export async function finishForgetting({ config, folders }: Pick<Ground, "config" | "folders">): Promise<void> {
  const file = demotedFile(folders);
  if ((await readTextFile(file)) === undefined) return;
  // Killed before the settings said so, it is a control node still, and is told again.
  if (config.roles.every((role) => role === "worker")) {
    await sweepKeys(config, folders);
    // Its servers' certificates, the password among them, and what others have left in their streams.
    for (const folder of [path.join(folders.data, "etcd"), natsFolder(config, folders)]) await rm(folder, { recursive: true, force: true });
  }
  await rm(file, { force: true });
}

/** Its settings say that it is a worker, and what runs here still are the servers of a control node. */
export const isDemoted = (folders: Folders): boolean => existsSync(demotedFile(folders));

const demotedFile = ({ data }: Folders): string => path.join(data, "demoted");

/** Everything that would still open the cluster from here. */
async function sweepKeys(config: Ground["config"], folders: Folders): Promise<void> {
  const files = [
    folders.coordinatorSeed,
    folders.authorityKey,
    folders.authority,
    folders.adminToken,
    membersFile(folders.data),
    ...namedFiles(folders),
  ];
  const copies = path.join(backupFolder(config, folders), IDENTITY_COPIES);
  for (const file of [...files, copies]) await rm(file, { recursive: true, force: true });
}

/** H2. */
async function putAside({ coordinatorSeed, authorityKey, authority }: Folders): Promise<void> {
  const date = new Date().toISOString().replaceAll(":", "");
  for (const file of [coordinatorSeed, authorityKey, authority]) {
    if ((await readTextFile(file)) !== undefined) await rename(file, `${file}.${date}.old`);
  }
}

const namedFiles = ({ data }: Folders): string[] =>
  ["etcd-ca.pem", "etcd-client.pem", "etcd-client.key"].map((name) => path.join(data, name));

async function keepNamed(folders: Folders, { endpoints, authority, certificate, key }: NonNullable<Handover["store"]["named"]>) {
  const [caFile, certFile, keyFile] = namedFiles(folders) as [string, string, string];
  const kept = { caFile: [caFile, authority], certFile: [certFile, certificate], keyFile: [keyFile, key] } as const;
  const settings: Record<string, string> = {};
  for (const [setting, [file, text]] of Object.entries(kept)) {
    if (text === undefined) continue;
    await writePrivateFile(file, text);
    settings[setting] = file;
  }
  return { endpoints, ...settings };
}

/** `lan` and `tailscale` are each machine's own; an address of one machine is the other's only in kind. */
function reachFrom(host: string): Handover["reach"] {
  if (host === TAILSCALE || reachOf(host) === "tailnet") return TAILSCALE;
  return reachOf(host) === "loopback" ? undefined : LAN;
}

async function readAll(files: { readonly [name: string]: string | undefined }): Promise<Record<string, string>> {
  const read: Record<string, string> = {};
  for (const [name, file] of Object.entries(files)) if (file !== undefined) read[name] = await needed(file);
  return read;
}

async function needed(file: string): Promise<string> {
  const text = await readTextFile(file);
  if (text !== undefined) return text;
  throw new ClusterError("config_invalid", `${file} is gone; without it nobody else can become a control node`);
}
