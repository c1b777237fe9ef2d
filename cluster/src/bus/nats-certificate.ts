/**
 * The certificate of nats-server on disk: chain and key in one file, named after what is in it. A server that is started again,
 * or that takes its former configuration back, finds the one that its configuration names.
 */
import { hash } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { readTextFile, writePrivateFile } from "../system/folders.ts";
import type { ServerCertificate } from "../trust/authority.ts";

const NAME = /^(server|authority)-[0-9a-f]{16}\.pem$/;
const NAME_CHARS = 16;

export function certificateFile(folder: string, { chain }: ServerCertificate): string {
  return fileOf(folder, "server", chain);
}

/** Its authority's alone: whom a server takes for its like. */
export function authorityFile(folder: string, { authority }: ServerCertificate): string {
  return fileOf(folder, "authority", authority);
}

/** Does nothing where there is none, or it lies there already. */
export async function writeCertificate(folder: string, certificate: ServerCertificate | undefined): Promise<void> {
  if (certificate === undefined) return;
  await put(certificateFile(folder, certificate), certificate.chain + certificate.key);
}

export function writeAuthority(folder: string, certificate: ServerCertificate): Promise<void> {
  return put(authorityFile(folder, certificate), certificate.authority);
}

/** Removes those that the configuration does not name. */
export async function sweepCertificates(folder: string, config: string): Promise<void> {
  for (const name of await readdir(folder)) if (NAME.test(name) && !config.includes(name)) await rm(join(folder, name), { force: true });
}

function fileOf(folder: string, what: "server" | "authority", text: string): string {
  return join(folder, `${what}-${hash("sha256", text, "hex").slice(0, NAME_CHARS)}.pem`);
}

async function put(file: string, text: string): Promise<void> {
  if ((await readTextFile(file)) !== text) await writePrivateFile(file, text);
}
