/** Doctor's check of Tailscale: which address to use, and whether what the settings say fits what Tailscale says. */
import { configuredUrls } from "../system/coordinator-urls.ts";
import { reachOf } from "../system/address.ts";
import type { ClusterConfig } from "../system/config.ts";
import { TAILSCALE } from "../system/config-schema.ts";
import {
  isOwnAddress,
  tailnetAddress,
  tailscaleAdvice,
  tailscaleState,
  type RunningTailscale,
  type Tailscale,
} from "../system/tailscale.ts";
import { fail, ok, warn, type Check } from "./check.ts";

const NAME = "Tailscale";
const USE_KEYWORD = `Let the address be asked for at each start: openclaw-cluster config set api.host ${TAILSCALE}`;

export function checkTailscale(config: ClusterConfig, found: Tailscale): Check {
  const { host } = config.api;
  const leads = config.roles.includes("coordinator");
  const listens = leads && (host === TAILSCALE || reachOf(host) === "tailnet");
  const state = `${found.kind === "running" ? "" : "it "}${tailscaleState(found)}`;
  if (listens && host !== TAILSCALE && found.kind === "absent")
    return warn(NAME, `${state}, so api.host, ${host}, is no address of a tailnet: TLS is spoken there`, tailscaleAdvice(found));
  if (found.kind !== "running") {
    if (listens) return fail(NAME, `${state}, and api.host is ${host}`, tailscaleAdvice(found));
    const inTailnet = configuredUrls(config.coordinator).find(leadsThere);
    if (!leads && inTailnet !== undefined)
      return warn(NAME, `${state}, and the coordinator's address, ${inTailnet}, is in a tailnet`, tailscaleAdvice(found));
    return ok(NAME, found.kind === "absent" ? "not installed; it is one way to reach other machines" : state);
  }
  const address = tailnetAddress(found);
  if (!listens) return ok(NAME, leads ? `${shown(found)}; api.host ${TAILSCALE} lets machines there reach this coordinator` : shown(found));
  if (host === TAILSCALE || isOwnAddress(found, host)) return ok(NAME, `${shown(found)}; the API and nats-server listen there`);
  return warn(
    NAME,
    `api.host is ${host}, which is not this machine's address in the tailnet (${address}): TLS is spoken there`,
    USE_KEYWORD,
  );
}

function shown(found: RunningTailscale): string {
  const { magicDnsName, peers } = found;
  const online = peers.filter((peer) => peer.online).length;
  const name = magicDnsName === undefined ? "" : ` (${magicDnsName})`;
  return `${tailnetAddress(found)}${name}, ${online} of ${peers.length} other machines online`;
}

function leadsThere(url: string): boolean {
  const name = new URL(url).hostname;
  return reachOf(name) === "tailnet" || name.endsWith(".ts.net");
}
