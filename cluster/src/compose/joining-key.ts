/**
 * The key with which a machine comes into a cluster: one for each coordinator. A coordinator has its nodes sign what it likes, at
 * nats-server's door a number that names nobody; where it was sent that by another coordinator that knows the same key, it is the
 * node there.
 *
 * C1. A key that one coordinator may know of is never shown to another: until the join is proven it lies in a file of that
 *     coordinator's, and each try with it finds the same one. Whose `node.seed` is, the certificate in the folder says; without
 *     one, nobody knows.
 * C2. The key of before stays until the join is proven. Cut short anywhere, joining again with the same code ends it.
 */
import { hash } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import { readTextFile, writePrivateFile, type Folders } from "../system/folders.ts";
import { pinOf, readCertificate } from "../trust/authority.ts";
import { loadNodeKeys, type NodeKeys } from "../trust/keys.ts";

type Places = Pick<Folders, "home" | "nodeSeed" | "nodeSeedNext" | "coordinatorAuthority">;

const PREFIX = "node.seed.for-";
const NAME_CHARS = 16;

export interface JoiningKey {
  readonly keys: NodeKeys;
  /** This machine belongs to that coordinator already. */
  readonly isMember: boolean;
  /** The join is proven, with this certificate of the coordinator's authority: it is this machine's key from now on. */
  settle(authority: string): Promise<void>;
}

/** `pin`: of the coordinator that is asked. */
export async function openJoiningKey(places: Places, pin: string): Promise<JoiningKey> {
  const { home, nodeSeed, nodeSeedNext, coordinatorAuthority } = places;
  const certificate = readCertificate((await readTextFile(coordinatorAuthority)) ?? "");
  const isMember = certificate !== undefined && pinOf(certificate) === pin;
  const own = path.join(home, PREFIX + hash("sha256", pin, "hex").slice(0, NAME_CHARS));
  const keys = await loadNodeKeys(isMember ? nodeSeed : own);
  return {
    keys,
    isMember,
    async settle(authority) {
      if (!isMember) {
        await rm(coordinatorAuthority, { force: true });
        // This machine would try it at the new coordinator.
        await rm(nodeSeedNext, { force: true });
        await writePrivateFile(nodeSeed, keys.seed);
      }
      await writePrivateFile(coordinatorAuthority, authority);
      await rm(own, { force: true });
    },
  };
}

/** Of joins that have not come to their end. */
export async function joiningKeys(home: string): Promise<string[]> {
  return (await readdir(home)).filter((name) => name.startsWith(PREFIX)).map((name) => path.join(home, name));
}
