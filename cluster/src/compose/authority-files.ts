/**
 * The coordinator's authority on disk: made at the first start, read at each further one.
 *
 * F1. The key comes first. A start that was killed between the two leaves a key without a certificate, and the next one goes
 *     on: nobody had heard of either. A certificate without its key is a loss, and ends the start.
 * F2. A key that other users can read is no key: it certifies nothing until its owner has closed the file.
 */
import { stat } from "node:fs/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { failpoint } from "../system/failpoint.ts";
import { readTextFile, writePrivateFile, type Folders } from "../system/folders.ts";
import { isOpenToOthers } from "../system/private-mode.ts";
import { createAuthorityCertificate, createKey, openAuthority, type Authority } from "../trust/authority.ts";

type Places = Pick<Folders, "authority" | "authorityKey">;

/** Throws config_invalid with the next step. */
export async function loadAuthority(places: Places, coordinatorKey: string, now: number): Promise<Authority> {
  const files = { key: places.authorityKey, certificate: places.authority };
  let [key, certificate] = await Promise.all([readTextFile(files.key), readTextFile(files.certificate)]);
  if (key === undefined) {
    if (certificate !== undefined)
      throw new ClusterError(
        "config_invalid",
        `${files.certificate} is there, and its key ${files.key} is not. Put the key back; or remove the certificate, and the next start ` +
          "makes an authority anew: then every machine that reaches this one over TLS has to join again",
      );
    key = createKey();
    await writePrivateFile(files.key, key);
  } else if (isOpenToOthers((await stat(files.key)).mode))
    throw new ClusterError("config_invalid", `the authority's key ${files.key} is open to other users; run: chmod 600 ${files.key}`);
  failpoint("start.authority-key");
  if (certificate === undefined) {
    certificate = createAuthorityCertificate(key, coordinatorKey, now);
    await writePrivateFile(files.certificate, certificate);
  }
  return openAuthority({ key, certificate, coordinatorKey, files });
}
