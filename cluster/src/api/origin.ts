/**
 * Where a request may come from. What a page in somebody's browser can send must not get further than this, whatever it asks
 * for; browsers say enough of themselves for that.
 *
 * B1. There is one Host and it is on the allow-list: a page that rebinds its DNS name to us still sends its own name. The target
 *     is a path: one with a name of its own would be a second answer to the same question.
 * B2. Origin is absent or our own, Sec-Fetch-Site is absent, same-origin or none: no page of another site gets through.
 * B3. Nothing here speaks WebSocket, for which a browser asks without a preflight. Other upgrades are offers, and not taken.
 */
import type { IncomingMessage } from "node:http";
import { ClusterError } from "@openclaw-cluster/contract/errors";

/** `hosts`: our own names, in lower case, with their ports. */
export function checkOrigin({ headers, rawHeaders, url }: IncomingMessage, hosts: ReadonlySet<string>): void {
  const host = headers.host?.toLowerCase() ?? "";
  if (!hosts.has(host)) throw new ClusterError("misdirected", "This server does not go by the name in the Host header.");
  if (hasSecondHost(rawHeaders)) throw new ClusterError("misdirected", "This request has more than one Host header.");
  if (url?.startsWith("/") !== true) throw new ClusterError("misdirected", "Only paths are served; this is no proxy.");
  const { origin } = headers;
  if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) {
    throw new ClusterError("forbidden", "Requests from another origin are refused.");
  }
  const site = headers["sec-fetch-site"];
  if (site !== undefined && site !== "same-origin" && site !== "none") {
    throw new ClusterError("forbidden", "Requests from another site are refused.");
  }
  if (headers.upgrade !== undefined && /websocket/i.test(headers.upgrade))
    throw new ClusterError("bad_request", "Nothing here speaks WebSocket; streams are server-sent events.");
}

/** Of two, node shows the first, and whoever stands in front may have gone by the other. */
function hasSecondHost(rawHeaders: readonly string[]): boolean {
  let count = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    if (name.length === 4 && name.toLowerCase() === "host") count += 1;
  }
  return count > 1;
}
