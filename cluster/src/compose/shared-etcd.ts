/** The way to the etcd that control nodes share: one that the user runs, or this machine's own member. */
import { readFile } from "node:fs/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { EtcdClient } from "../store/etcd-client.ts";
import { openEtcd } from "../store/etcd-gateway.ts";
import type { Ground } from "./ground.ts";
import type { Shown } from "./stand.ts";

export async function openEtcdFor({ config }: Ground, _shown: Shown, open: (() => Promise<void>)[]): Promise<EtcdClient> {
  const { endpoints, caFile, certFile, keyFile } = config.store;
  if (endpoints.length === 0) throw new ClusterError("config_invalid", "store.endpoints: name the etcd that the control nodes share");
  const [authority, certificate, key] = await Promise.all([pem("caFile", caFile), pem("certFile", certFile), pem("keyFile", keyFile)]);
  const tls = {
    ...(authority !== undefined && { authority }),
    ...(certificate !== undefined && { certificate }),
    ...(key !== undefined && { key }),
  };
  const client = openEtcd({ endpoints, tls });
  open.push(async () => client.close());
  return client;
}

async function pem(setting: string, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  return readFile(file, "utf8").catch((cause: unknown) => {
    throw new ClusterError("config_invalid", `store.${setting}: ${file} cannot be read`, { cause });
  });
}
