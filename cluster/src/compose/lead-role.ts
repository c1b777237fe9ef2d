/** Opens what a coordinator needs, bottom up: store, nats-server, its own connection, the coordinator, the API. */
import path from "node:path";
import { openApi } from "../api/api.ts";
import { openEnvelopes } from "../bus/envelopes.ts";
import { connectNats } from "../bus/nats.ts";
import { startNatsServer } from "../bus/nats-server.ts";
import { COORDINATOR } from "../bus/subjects.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { openCoordinator } from "../coordinator/open.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { resolveBinary } from "../system/binaries.ts";
import { failpoint } from "../system/failpoint.ts";
import { readSecret, writePrivateFile } from "../system/folders.ts";
import { askWhois } from "../system/tailscale-whois.ts";
import { Keyring } from "../trust/keyring.ts";
import { loadNodeKeys } from "../trust/keys.ts";
import { createToken, hashToken } from "../trust/token.ts";
import { VERSION, type Ground } from "./ground.ts";
import { copyIdentity } from "./identity.ts";
import { findListeningPlace } from "./listening-place.ts";
import { backupFolder } from "./restore.ts";

export interface LeadRole {
  readonly coordinator: Coordinator;
  readonly apiUrl: string;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export async function openLeadRole(ground: Ground, open: (() => Promise<void>)[]): Promise<LeadRole> {
  const { config, folders, clock, log } = ground;
  const place = await findListeningPlace({ ...ground, host: config.api.host });
  const backups = backupFolder(config, folders);
  const store = await openSqliteStore({ path: folders.database, backups, log });
  open.push(() => store.close());

  const binary = await resolveBinary("nats-server", {
    cacheFolder: ground.cacheFolder,
    log,
    env: withBinary(ground),
    onProgress: (text) => ground.progress(text),
  });
  const keys = await loadNodeKeys(folders.coordinatorSeed);
  await copyIdentity(folders, backups);
  const server = await startNatsServer({
    binary: binary.path,
    folder: config.nats.dataFolder ?? path.join(folders.data, "nats"),
    host: place.busHost,
    ...(config.nats.port !== undefined && { port: config.nats.port }),
    coordinator: keys,
    nodes: [],
    log,
    clock,
  });
  open.push(() => server.stop());

  const keyring = new Keyring();
  const envelopes = openEnvelopes({ self: COORDINATOR, seed: keys.seed, keyOf: (party) => keyring.keyOf(party) });
  const bus = await connectNats({ urls: [server.url], seed: keys.seed, envelopes, log });
  open.push(() => bus.close());

  const apiUrls: string[] = [];
  const coordinator = await openCoordinator({
    name: config.clusterName,
    version: VERSION,
    self: config.nodeId,
    store,
    bus,
    busServer: server,
    keyring,
    coordinatorKey: keys.publicKey,
    busUrls: [server.url],
    apiUrls: () => apiUrls,
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
    allowedHosts: [...config.api.allowedHosts, ...place.names],
    log,
    clock,
  });
  open.push(() => api.close());
  // The address first: a name is only as good as whoever resolves it there.
  apiUrls.push(api.url, ...place.names.map((name) => `http://${name}:${api.port}`));
  return { coordinator, apiUrl: api.url };
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
