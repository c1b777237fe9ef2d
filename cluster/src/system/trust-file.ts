/** Reads whom this machine takes its coordinator's word from: the certificate of its authority, in a file. */
import { X509Certificate } from "node:crypto";
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { readTextFile } from "./folders.ts";

/** undefined: there is no such file. Throws config_invalid where it holds something else. */
export async function readTrust(file: string): Promise<Trust | undefined> {
  const text = await readTextFile(file);
  if (text === undefined) return undefined;
  try {
    return { authorities: [new X509Certificate(text).toString()], file };
  } catch {
    // What stands in it may be a key that was put there by mistake: nothing of it is said.
    throw new ClusterError("config_invalid", `${file} holds no certificate; it takes the coordinator's data/authority.pem`);
  }
}
