/**
 * The certificate of nats-server on disk: chain and key in one file, named after what is in it. A server that is started again,
 * or that takes its former configuration back, finds the one that its configuration names.
 */
import { hash } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { readTextFile, writePrivateFile } from "../system/folders.ts";
import type { ServerCertificate } from "../trust/authority.ts";

const NAME = /^server-[0-9a-f]{16}\.pem$/;
const NAME_CHARS = 16;

export function certificateFile(folder: string, { chain }: ServerCertificate): string {
  return join(folder, `server-${hash("sha256", chain, "hex").slice(0, NAME_CHARS)}.pem`);
}

/** Does nothing where there is none, or it lies there already. */
export async function writeCertificate(folder: string, certificate: ServerCertificate | undefined): Promise<void> {
  if (certificate === undefined) return;
  const file = certificateFile(folder, certificate);
  const text = certificate.chain + certificate.key;
  if ((await readTextFile(file)) !== text) await writePrivateFile(file, text);
}

/** Removes the others. */
export async function sweepCertificates(folder: string, keep: ServerCertificate | undefined): Promise<void> {
  const kept = keep && certificateFile(folder, keep);
  for (const name of await readdir(folder)) {
    const file = join(folder, name);
    if (NAME.test(name) && file !== kept) await rm(file, { force: true });
  }
}
