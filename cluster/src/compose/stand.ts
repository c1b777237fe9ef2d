/** What a control node stands on, whether it leads or not: where it listens, its certificates, its nats-server. */
import path from "node:path";
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { openChangingServer, type ChangingServer, type NatsMembership } from "../bus/nats-changing-server.ts";
import { bracketed, isEvery } from "../system/address.ts";
import { resolveBinary } from "../system/binaries.ts";
import { isAtLeast } from "../system/version.ts";
import type { Authority, ServerCertificate } from "../trust/authority.ts";
import { loadNodeKeys, type NodeKeys } from "../trust/keys.ts";
import { loadAuthority } from "./authority-files.ts";
import type { Ground } from "./ground.ts";
import { certifiedHosts, type ListeningPlace } from "./listening-place.ts";
import { firstCertificate, type CertificateParts } from "./server-certificates.ts";

export interface Shown extends CertificateParts {
  /** The coordinator's: nodes keep the public half when they join. */
  readonly keys: NodeKeys;
  readonly authority: Authority;
  readonly trust: Trust;
  /** Absent where nothing speaks TLS. */
  readonly certificate: ServerCertificate | undefined;
}

/** The first nats-server that does not greet before TLS is spoken. */
const TLS_FIRST = "2.10.4";

export async function openCertificates({ config, folders, clock, log }: Ground, place: ListeningPlace): Promise<Shown> {
  const keys = await loadNodeKeys(folders.coordinatorSeed);
  const authority = await loadAuthority(folders, keys.publicKey, clock.wall());
  const trust = { authorities: [authority.certificate], file: folders.authority };
  const parts = { authority, hosts: certifiedHosts(place, config.api.allowedHosts), clock, log };
  return { ...parts, keys, trust, certificate: place.tls ? firstCertificate(parts) : undefined };
}

export async function openNatsServer(
  ground: Ground,
  place: ListeningPlace,
  { keys, certificate }: Shown,
  cluster?: NatsMembership,
): Promise<ChangingServer> {
  const { config, folders, clock, log } = ground;
  const binary = await resolveBinary("nats-server", {
    cacheFolder: ground.cacheFolder,
    log,
    env: withBinary(ground),
    onProgress: (text) => ground.progress(text),
  });
  if (place.tls && !isAtLeast(binary.version, TLS_FIRST))
    throw new ClusterError("binary_missing", `${binary.path} is nats-server ${binary.version}; for TLS ${TLS_FIRST} or newer is needed`);
  return openChangingServer({
    binary: binary.path,
    folder: natsFolder(config, folders),
    host: place.busHost,
    ...(certificate !== undefined && { certificate }),
    ...(config.nats.port !== undefined && { port: config.nats.port }),
    coordinator: keys,
    nodes: [],
    ...(cluster !== undefined && { cluster }),
    log,
    clock,
  });
}

export const natsFolder = ({ nats }: Ground["config"], { data }: Ground["folders"]): string => nats.dataFolder ?? path.join(data, "nats");

/** Where others find the server that this machine reaches at `own`. */
export function urlsAt({ apiHost, addresses }: ListeningPlace, own: string): string[] {
  if (!isEvery(apiHost) || addresses.length === 0) return [own];
  return addresses.map((address) => own.replace(/\/\/.*(?=:\d+$)/, `//${bracketed(address)}`));
}

function withBinary({ config, env }: Ground): Ground["env"] {
  return config.nats.binary === undefined ? env : { ...env, OPENCLAW_CLUSTER_NATS_BIN: config.nats.binary };
}
