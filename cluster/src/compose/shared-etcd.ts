/** The way to the etcd that control nodes share: one that the user runs, or this machine's own member of the cluster's. */
import { readFile } from "node:fs/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { EtcdClient } from "../store/etcd-client.ts";
import { openEtcd } from "../store/etcd-gateway.ts";
import { handOver } from "../store/etcd-members.ts";
import { probeEtcd } from "../store/etcd-probe.ts";
import type { Ground } from "./ground.ts";
import type { ListeningPlace } from "./listening-place.ts";
import { openOwnEtcd } from "./own-etcd.ts";
import { waitPatiently } from "./patience.ts";
import type { Shown } from "./stand.ts";

export interface SharedEtcd {
  readonly client: EtcdClient;
  /** Hexadecimal; of this machine's own member. */
  readonly member?: string | undefined;
  /** If this machine's own member leads etcd, another one that votes does so now. One that a user runs is the user's matter. */
  yieldLead(): Promise<void>;
  close(): Promise<void>;
}

export async function openSharedEtcd(
  ground: Ground,
  { place, shown }: { readonly place: ListeningPlace; readonly shown: Shown },
): Promise<SharedEtcd> {
  if (ground.config.store.endpoints.length > 0) return openNamed(ground);
  const [host] = place.addresses;
  if (host === undefined)
    throw new ClusterError(
      "config_invalid",
      "api.host: a control node needs an address at which the others reach it; this machine has none",
    );
  const own = await openOwnEtcd(ground, { authority: shown.authority, host });
  return { client: own.client, member: own.server.member, yieldLead: () => handOver(own.client, own.server), close: () => own.stop() };
}

async function openNamed({ config, log, signal, progress }: Ground): Promise<SharedEtcd> {
  const { endpoints, caFile, certFile, keyFile } = config.store;
  const [authority, certificate, key] = await Promise.all([pem("caFile", caFile), pem("certFile", certFile), pem("keyFile", keyFile)]);
  const tls = {
    ...(authority !== undefined && { authority }),
    ...(certificate !== undefined && { certificate }),
    ...(key !== undefined && { key }),
  };
  // After a power cut this machine may well be up before etcd is.
  const parts = { whom: `etcd at ${endpoints.join(" or ")}`, log, signal, tell: progress, random: Math.random };
  const probe = { endpoints, tls, ...(caFile !== undefined && { authorityFile: caFile }) };
  const { faults } = await waitPatiently(parts, () => probeEtcd(probe));
  for (const fault of faults) log.warn({ err: fault }, "one of etcd's endpoints does not serve");
  const client = openEtcd({ endpoints, tls });
  return { client, yieldLead: async () => undefined, close: async () => client.close() };
}

async function pem(setting: string, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  return readFile(file, "utf8").catch((cause: unknown) => {
    throw new ClusterError("config_invalid", `store.${setting}: ${file} cannot be read`, { cause });
  });
}
