/** The API of a control node, whoever answers behind it, with the names that it goes by and its certificate. */
import { openApi, type Api, type Role } from "../api/api.ts";
import type { NatsServer } from "../bus/nats-server.ts";
import { bracketed } from "../system/address.ts";
import type { Ground } from "./ground.ts";
import { machineNames, type ListeningPlace } from "./listening-place.ts";
import { renewCertificates } from "./server-certificates.ts";
import { urlsAt, type Shown } from "./stand.ts";

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
