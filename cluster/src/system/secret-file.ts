/**
 * `secrets.yaml`: what a node's owner lets programs here know, by name. It stays on this machine: tasks hold names, and nothing else
 * reads this file.
 *
 * S1. A file that others of this machine may read, or that is no map of names to texts, gives no secret at all.
 * S2. No value stands in an error: a fault of the file is told without its words.
 */
import { readFileSync, statSync } from "node:fs";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { SecretName } from "@openclaw-cluster/contract/task-spec";
import { z } from "zod";
import { writePrivateFile } from "./folders.ts";
import { isOpenToOthers } from "./private-mode.ts";
import { readYaml } from "./yaml-document.ts";

export const SECRETS = {
  /** A shorter one could not be told from any other word, and so not be kept out of what a program prints. */
  charsMin: 8,
  /** A variable of Linux holds 128 KiB. */
  charsMax: 32_768,
  max: 256,
} as const;
const FILE_BYTES_MAX = 8 * 1024 * 1024;

const Secrets = z.record(SecretName, z.string().min(SECRETS.charsMin).max(SECRETS.charsMax));
export type Secrets = ReadonlyMap<string, string>;

/** Throws config_invalid (S1). */
export function readSecrets(file: string): Secrets {
  const fault = unfitness(file);
  if (fault === "none") return new Map();
  if (fault !== undefined) throw new ClusterError("config_invalid", `${file}: ${fault}`);
  const { document } = readYaml(readFileSync(file, "utf8"));
  const parsed = document.errors.length > 0 ? undefined : Secrets.safeParse(document.toJS() ?? {});
  if (parsed?.success !== true)
    throw new ClusterError(
      "config_invalid",
      `${file}: not a list of names, each with a text of ${SECRETS.charsMin} to ${SECRETS.charsMax} characters`,
    );
  return new Map(Object.entries(parsed.data));
}

function unfitness(file: string): string | undefined {
  try {
    const { mode, size } = statSync(file);
    if (size > FILE_BYTES_MAX) return `it is larger than ${FILE_BYTES_MAX} bytes`;
    return isOpenToOthers(mode) ? "others of this machine may read it: chmod 600 takes that away" : undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "ENOENT" ? "none" : `it cannot be read (${code})`;
  }
}

export async function setSecret(file: string, name: string, value: string): Promise<void> {
  checkName(name);
  if (value.length < SECRETS.charsMin || value.length > SECRETS.charsMax)
    throw new ClusterError("usage", `a secret has ${SECRETS.charsMin} to ${SECRETS.charsMax} characters, this one ${value.length}`);
  if (value.includes("\0")) throw new ClusterError("usage", "a secret holds no NUL character, because no variable does");
  const secrets = new Map(readSecrets(file)).set(name, value);
  if (secrets.size > SECRETS.max) throw new ClusterError("usage", `a node keeps at most ${SECRETS.max} secrets`);
  await write(file, secrets);
}

/** False: there was none of that name. */
export async function removeSecret(file: string, name: string): Promise<boolean> {
  checkName(name);
  const secrets = new Map(readSecrets(file));
  if (!secrets.delete(name)) return false;
  await write(file, secrets);
  return true;
}

/** JSON is YAML, and needs no rules for what has to be quoted. */
async function write(file: string, secrets: Secrets): Promise<void> {
  await writePrivateFile(file, `${JSON.stringify(Object.fromEntries(secrets), null, 2)}\n`);
}

function checkName(name: string): void {
  // Of the one name that an object cannot have nothing would be kept.
  if (!SecretName.safeParse(name).success || name === "__proto__")
    throw new ClusterError("usage", "a secret's name is letters, digits and _, at most 64, and does not begin with a digit");
}
