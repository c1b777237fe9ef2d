/** `start --store`: where a coordinator keeps its tasks, said before its first start, and kept in its settings from then on. */
import { existsSync } from "node:fs";
import path from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { loadConfig, patchFromText, saveConfig } from "../system/config.ts";
import { foldersOf, type Environment } from "../system/folders.ts";

export interface StoreChoice {
  readonly home: string;
  readonly env: Environment;
  /** As typed; absent where only `endpoints` are said: then etcd. */
  readonly kind?: string | undefined;
  /** As typed, with commas. */
  readonly endpoints?: string | undefined;
}

/** The same again changes nothing. Throws state_conflict where tasks are kept elsewhere already, and usage for what is no store. */
export async function chooseStore({ home, env, kind = "etcd", endpoints }: StoreChoice): Promise<void> {
  const words = [["store.kind", kind] as const, ...(endpoints === undefined ? [] : [["store.endpoints", endpoints] as const])];
  const patch = patchFromText(words);
  const [before, after] = [await loadConfig({ home, env }), await loadConfig({ home, env, flags: patch })];
  if (JSON.stringify(before.store) === JSON.stringify(after.store)) return;
  const { database, data } = foldersOf(home);
  if (existsSync(database) || existsSync(path.join(data, "etcd")) || before.store.kind === "etcd")
    throw new ClusterError(
      "state_conflict",
      `this machine keeps its tasks in ${before.store.kind} already; while it runs: openclaw-cluster store migrate --to ${after.store.kind}` +
        (endpoints === undefined ? "" : ` --endpoints ${endpoints}`),
    );
  await saveConfig(home, patch);
}
