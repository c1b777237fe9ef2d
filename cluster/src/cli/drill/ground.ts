/**
 * The folder of one drill, in the machine's temporary folder, and the folders of drills that are gone.
 *
 * G1. A drill holds its folder as a daemon holds its home (system/home-claim.ts): who can take the claim knows that the
 *     drill is over, however it ended.
 * G2. The temporary folder belongs to everybody: another user's folder is none of ours, whatever its name.
 */
import { lstat, mkdir, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { claimHome } from "../../system/home-claim.ts";
import { randomId } from "../../system/random-id.ts";

const PREFIX = "openclaw-cluster-drill-";
const ID_CHARS = 6;
const OF_A_DRILL = new RegExp(`^${PREFIX}([a-z2-7]{${ID_CHARS}})$`);

export interface Ground {
  /** Six letters that are in the name of everything that the drill makes. */
  readonly id: string;
  readonly folder: string;
  remove(): Promise<void>;
}

export async function openGround(): Promise<Ground> {
  const id = randomId(ID_CHARS);
  const folder = path.join(tmpdir(), PREFIX + id);
  // Not recursive: a folder, or a link, that is there already is somebody else's.
  await mkdir(folder, { mode: 0o700 });
  const claim = claimHome(folder, folder);
  return {
    id,
    folder,
    remove: async () => {
      claim.release();
      await removeFolder(folder);
    },
  };
}

/** Of this user's drills that ended without tidying up. */
export async function forsakenGrounds(): Promise<Ground[]> {
  const found: Ground[] = [];
  for (const name of await readdir(tmpdir())) {
    const id = OF_A_DRILL.exec(name)?.[1];
    const folder = path.join(tmpdir(), name);
    if (id !== undefined && (await isForsaken(folder))) found.push({ id, folder, remove: () => removeFolder(folder) });
  }
  return found;
}

async function isForsaken(folder: string): Promise<boolean> {
  const stats = await lstat(folder).catch(() => undefined);
  if (stats?.isDirectory() !== true || (process.getuid !== undefined && stats.uid !== process.getuid())) return false;
  try {
    claimHome(folder, folder).release();
    return true;
  } catch (error) {
    if (error instanceof ClusterError && error.code === "already_running") return false;
    throw error;
  }
}

async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
}
