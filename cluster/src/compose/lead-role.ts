/** Opens what a coordinator needs, bottom up: store, nats-server, its own connection, the coordinator, the API. */
import { openApi, type Api, type Role } from "../api/api.ts";
import type { Subscription } from "../bus/bus.ts";
import type { NatsServer } from "../bus/nats-server.ts";
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import type { Enrolled } from "@openclaw-cluster/contract/operations";
import { openSqliteStore } from "../store/sqlite.ts";
import { bracketed } from "../system/address.ts";
import type { Ground } from "./ground.ts";
import { copyIdentity } from "./identity.ts";
import { takeLead } from "./leading.ts";
import { findListeningPlace, machineNames, type ListeningPlace } from "./listening-place.ts";
import { backupFolder } from "./restore.ts";
import { renewCertificates } from "./server-certificates.ts";
import { openCertificates, openNatsServer, urlsAt, type Shown } from "./stand.ts";

export interface LeadRole {
  readonly apiUrl: string;
  /** Whom this machine's own node knows nats-server by. */
  readonly trust: Trust;
  /** Lets this machine's own node in. */
  enrolOwn(publicKey: string): Promise<Enrolled>;
  /** Where the bus is, where that can change: tells it at once, and at each change. */
  busUrlsChange?: (listener: (urls: readonly string[]) => void) => Subscription;
}

export async function openLeadRole(ground: Ground, open: (() => Promise<void>)[]): Promise<LeadRole> {
  const { config, folders, log } = ground;
  const place = await findListeningPlace({ ...ground, host: config.api.host });
  const shown = await openCertificates(ground, place);
  const backups = backupFolder(config, folders);
  await copyIdentity(folders, backups);
  const store = await openSqliteStore({ path: folders.database, backups, log });
  open.push(() => store.close());

  const server = await openNatsServer(ground, place, shown);
  open.push(() => server.stop());

  const apiUrls: string[] = [];
  const parts = { store, server, shown, backups, broken: (error: unknown) => ground.fail(error) };
  const coordinator = await takeLead(
    ground,
    { ...parts, busUrls: () => urlsAt(place, server.url), apiUrls: () => apiUrls, controlUrls: () => apiUrls },
    open,
  );

  const api = await showApi(ground, { place, shown, server, role: { coordinator } }, open);
  apiUrls.push(...apiUrlsAt(place, api));
  const enrolOwn = (publicKey: string): Promise<Enrolled> => coordinator.enrol({ id: config.nodeId, publicKey });
  return { apiUrl: api.url, trust: shown.trust, enrolOwn };
}

export async function showApi(
  { config, clock, log }: Ground,
  { place, shown, server, role }: { place: ListeningPlace; shown: Shown; server: NatsServer; role: Role },
  open: (() => Promise<void>)[],
): Promise<Api> {
  const { certificate } = shown;
  const api = await openApi({
    ...role,
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
  return api;
}

/** The address first: a name is only as good as whoever resolves it there. */
export function apiUrlsAt(place: ListeningPlace, api: Api): string[] {
  return [...urlsAt(place, api.url), ...place.names.map((name) => `${new URL(api.url).protocol}//${name}:${api.port}`)];
}
