/** Opens what a coordinator needs, bottom up: store, nats-server, its own connection, the coordinator, the API. */
import path from "node:path";
import { openApi } from "../api/api.ts";
import { openEnvelopes } from "../bus/envelopes.ts";
import { connectNats } from "../bus/nats.ts";
import { startNatsServer, type NatsServer } from "../bus/nats-server.ts";
import { Rations } from "../bus/rations.ts";
import { COORDINATOR } from "../bus/subjects.ts";
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { openCoordinator } from "../coordinator/open.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { bracketed, isEvery } from "../system/address.ts";
import { resolveBinary } from "../system/binaries.ts";
import { failpoint } from "../system/failpoint.ts";
import { readSecret, writePrivateFile } from "../system/folders.ts";
import { askWhois } from "../system/tailscale-whois.ts";
import { isAtLeast } from "../system/version.ts";
import type { Authority, ServerCertificate } from "../trust/authority.ts";
import { Keyring } from "../trust/keyring.ts";
import { loadNodeKeys, type NodeKeys } from "../trust/keys.ts";
import { signer } from "../trust/signature.ts";
import { createToken, hashToken } from "../trust/token.ts";
import { loadAuthority } from "./authority-files.ts";
import { VERSION, type Ground } from "./ground.ts";
import { copyIdentity } from "./identity.ts";
import { certifiedHosts, findListeningPlace, machineNames, type ListeningPlace } from "./listening-place.ts";
import { backupFolder } from "./restore.ts";
import { firstCertificate, renewCertificates, type CertificateParts } from "./server-certificates.ts";

export interface LeadRole {
  readonly coordinator: Coordinator;
  readonly apiUrl: string;
  /** Whom this machine's own node knows nats-server by. */
  readonly trust: Trust;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** The first nats-server that does not greet before TLS is spoken. */
const TLS_FIRST = "2.10.4";

export async function openLeadRole(ground: Ground, open: (() => Promise<void>)[]): Promise<LeadRole> {
  const { config, folders, clock, log } = ground;
  const place = await findListeningPlace({ ...ground, host: config.api.host });
  const shown = await openCertificates(ground, place);
  const { keys, authority, trust, certificate } = shown;
  const backups = backupFolder(config, folders);
  await copyIdentity(folders, backups);
  const store = await openSqliteStore({ path: folders.database, backups, log });
  open.push(() => store.close());

  const server = await openNatsServer(ground, place, shown);
  open.push(() => server.stop());

  const keyring = new Keyring();
  const envelopes = openEnvelopes({ self: COORDINATOR, seed: keys.seed, keyOf: (party) => keyring.keyOf(party) });
  const bus = await connectNats({ urls: [server.url], trust, seed: keys.seed, envelopes, log, rations: new Rations(clock) });
  open.push(() => bus.close());

  const apiUrls: string[] = [];
  const coordinator = await openCoordinator({
    name: config.clusterName,
    version: VERSION,
    self: config.nodeId,
    ...(config.roles.includes("worker") && { ownKeys: ground.keys.all().map(({ publicKey }) => publicKey) }),
    store,
    bus,
    busServer: server,
    keyring,
    coordinatorKey: keys.publicKey,
    sign: signer(keys.seed),
    authority,
    busUrls: urlsAt(place, server.url),
    apiUrls: () => apiUrls,
    controlUrls: () => apiUrls,
    joiners: { logins: config.join.tailscaleLogin, whois: (peer) => askWhois({ env: ground.env, ...peer }) },
    strategy: config.strategy,
    retentionMs: config.retention.days * DAY_MS,
    backups: { folder: backups, everyMs: config.backup.everyHours * HOUR_MS, keep: config.backup.keep },
    clock,
    random: Math.random,
    log,
    broken: (error) => ground.fail(error),
  });
  open.push(() => coordinator.stop());
  await ensureAdminToken(ground, coordinator);
  failpoint("start.leading");

  const api = await openApi({
    coordinator,
    host: place.apiHost,
    port: config.api.port,
    ...(certificate !== undefined && { certificate }),
    allowedHosts: [
      ...config.api.allowedHosts,
      ...place.names,
      ...(place.tls ? [...place.addresses.map(bracketed), ...machineNames()] : []),
    ],
    log,
    clock,
  });
  open.push(() => api.close());
  if (certificate !== undefined) {
    const renewal = renewCertificates(shown, certificate, [(next) => server.renew(next), (next) => api.renew(next)]);
    open.push(() => renewal.close());
  }
  // The address first: a name is only as good as whoever resolves it there.
  apiUrls.push(...urlsAt(place, api.url), ...place.names.map((name) => `${new URL(api.url).protocol}//${name}:${api.port}`));
  return { coordinator, apiUrl: api.url, trust };
}

interface Shown extends CertificateParts {
  readonly keys: NodeKeys;
  readonly authority: Authority;
  readonly trust: Trust;
  /** Absent where nothing speaks TLS. */
  readonly certificate: ServerCertificate | undefined;
}

async function openCertificates({ config, folders, clock, log }: Ground, place: ListeningPlace): Promise<Shown> {
  const keys = await loadNodeKeys(folders.coordinatorSeed);
  const authority = await loadAuthority(folders, keys.publicKey, clock.wall());
  const trust = { authorities: [authority.certificate], file: folders.authority };
  const parts = { authority, hosts: certifiedHosts(place, config.api.allowedHosts), clock, log };
  return { ...parts, keys, trust, certificate: place.tls ? firstCertificate(parts) : undefined };
}

async function openNatsServer(ground: Ground, place: ListeningPlace, { keys, certificate }: Shown): Promise<NatsServer> {
  const { config, folders, clock, log } = ground;
  const binary = await resolveBinary("nats-server", {
    cacheFolder: ground.cacheFolder,
    log,
    env: withBinary(ground),
    onProgress: (text) => ground.progress(text),
  });
  if (place.tls && !isAtLeast(binary.version, TLS_FIRST))
    throw new ClusterError("binary_missing", `${binary.path} is nats-server ${binary.version}; for TLS ${TLS_FIRST} or newer is needed`);
  return startNatsServer({
    binary: binary.path,
    folder: config.nats.dataFolder ?? path.join(folders.data, "nats"),
    host: place.busHost,
    ...(certificate !== undefined && { certificate }),
    ...(config.nats.port !== undefined && { port: config.nats.port }),
    coordinator: keys,
    nodes: [],
    log,
    clock,
  });
}

/** Where others find the server that this machine reaches at `own`. */
function urlsAt({ apiHost, addresses }: ListeningPlace, own: string): string[] {
  if (!isEvery(apiHost) || addresses.length === 0) return [own];
  return addresses.map((address) => own.replace(/\/\/.*(?=:\d+$)/, `//${bracketed(address)}`));
}

function withBinary({ config, env }: Ground): Ground["env"] {
  return config.nats.binary === undefined ? env : { ...env, OPENCLAW_CLUSTER_NATS_BIN: config.nats.binary };
}

/** The local administrator's token: made at the first start, and again when its file or its record is gone. */
async function ensureAdminToken({ folders, clock }: Ground, coordinator: Coordinator): Promise<void> {
  const secret = await readSecret(folders.adminToken);
  if (secret !== undefined && coordinator.token(hashToken(secret)) !== undefined) return;
  const token = createToken();
  await coordinator.addToken({ id: token.id, hash: token.hash, scope: "admin", name: "admin", user: "admin", createdAt: clock.wall() });
  failpoint("start.token-committed");
  await writePrivateFile(folders.adminToken, `${token.token}\n`);
}
