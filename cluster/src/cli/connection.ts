/**
 * Finds the coordinator, the token for it, and who may have certified it: flag, else environment, else what this machine's home
 * says.
 *
 * K1. A token from the home goes to the home's own coordinator or to this machine, nowhere else: a typing mistake in
 *     --url must not hand the administrator's secret to a stranger. Of the own coordinator are the addresses in the settings, and
 *     those that it has told of under its signature (system/coordinator-urls.ts).
 * K2. For the home's own coordinator its authority alone counts; for any other address the system's count too, because a
 *     proxy with a certificate of the web's may stand before it. A file that was named counts alone.
 */
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { bracketed, needsTls, ownSide, reachOf } from "../system/address.ts";
import { clusterHome, foldersOf, readSecret, type Environment } from "../system/folders.ts";

export interface ConnectionFlags {
  readonly home?: string;
  readonly url?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly ca?: string;
}

export interface Connection {
  /** Of one cluster, likeliest first; at least one, each without a slash at the end. */
  readonly urls: readonly string[];
  readonly token: string;
  /** Where it speaks TLS; the system's authorities without. */
  readonly trust?: Trust;
}

interface HomeSays {
  readonly urls: readonly string[];
  readonly tokenFile: string;
  readonly caFile: string;
}

interface Place {
  readonly urls: readonly string[];
  readonly token: string;
  /** Of the home's own coordinator. */
  readonly caFile?: string;
}

export async function findConnection(flags: ConnectionFlags, env: Environment, warn: (text: string) => void): Promise<Connection> {
  const place = await findPlace(flags, env, warn);
  const trust = await findTrust(place, flags, env);
  return { urls: place.urls, token: place.token, ...(trust !== undefined && { trust }) };
}

async function findPlace(flags: ConnectionFlags, env: Environment, warn: (text: string) => void): Promise<Place> {
  const given = flags.url ?? env["OPENCLAW_CLUSTER_URL"];
  const urls = given ? readUrls(given) : undefined;
  const token = await givenToken(flags, env, warn);
  if (urls !== undefined && token !== undefined) return { urls, token };
  const own = await askHome(flags, env);
  if (token !== undefined) return { urls: own.urls, token, caFile: own.caFile };
  const strange = urls?.find((url) => !own.urls.includes(url) && !isLoopback(url));
  if (strange !== undefined)
    throw new ClusterError("unauthorized", `no token for ${strange}: the one in this machine's home is for ${own.urls.join(", ")} only`);
  const kept = await tokenIn(own.tokenFile);
  const isOwn = urls === undefined || urls.every((url) => own.urls.includes(url));
  if (kept !== undefined) return { urls: urls ?? own.urls, token: kept, ...(isOwn && { caFile: own.caFile }) };
  if (urls !== undefined) throw new ClusterError("unauthorized", `no token for ${urls.join(", ")}, and there is no ${own.tokenFile}`);
  throw new ClusterError(
    "coordinator_unreachable",
    `no cluster has been started in this folder (there is no ${own.tokenFile}): run \`openclaw-cluster start\``,
  );
}

/** K2 */
async function findTrust({ urls, caFile }: Place, flags: ConnectionFlags, env: Environment): Promise<Trust | undefined> {
  if (!urls.some((url) => url.startsWith("https:"))) return undefined;
  const { readTrust } = await import("../system/trust-file.ts");
  const named = flags.ca ?? env["OPENCLAW_CLUSTER_CA"];
  if (named) {
    const trust = await readTrust(named);
    if (trust === undefined)
      throw new ClusterError("certificate_refused", `there is no ${named}, which should hold the authority's certificate`);
    return trust;
  }
  if (caFile !== undefined) return readTrust(caFile);
  const { authority, coordinatorAuthority } = foldersOf(clusterHome({ home: flags.home, env }));
  const kept = (await readTrust(coordinatorAuthority)) ?? (await readTrust(authority));
  if (kept === undefined) return undefined;
  const { rootCertificates } = process.getBuiltinModule("node:tls");
  return { authorities: [...rootCertificates, ...kept.authorities], file: kept.file };
}

/** A token that the person named for this call; undefined when there is none. */
export async function givenToken(flags: ConnectionFlags, env: Environment, warn: (text: string) => void): Promise<string | undefined> {
  if (flags.token) {
    warn("warning: --token can be read by every user of this machine (ps); prefer --token-file or OPENCLAW_CLUSTER_TOKEN");
    return flags.token;
  }
  if (flags.tokenFile) {
    const token = await tokenIn(flags.tokenFile);
    if (token === undefined) throw new ClusterError("unauthorized", `there is no token in ${flags.tokenFile}`);
    return token;
  }
  return env["OPENCLAW_CLUSTER_TOKEN"] || undefined;
}

/** The daemon that runs in this home leaves its address there; without one, the settings say where it would be. */
async function askHome(flags: ConnectionFlags, env: Environment): Promise<HomeSays> {
  const home = clusterHome({ home: flags.home, env });
  const folders = foldersOf(home);
  const running = await readSecret(folders.apiUrl);
  const own = { tokenFile: folders.adminToken, caFile: folders.authority };
  if (running !== undefined) return { urls: [readUrl(running)], ...own };
  const [{ loadConfig }, { LAN, TAILSCALE }, { knownUrls }] = await Promise.all([
    import("../system/config.ts"),
    import("../system/config-schema.ts"),
    import("../system/coordinator-urls.ts"),
  ]);
  const { roles, api, coordinator } = await loadConfig({ home, env });
  if (!roles.includes("coordinator"))
    return {
      urls: await knownUrls(coordinator, folders, await readSecret(folders.coordinatorKey)),
      tokenFile: coordinator.tokenFile ?? folders.coordinatorToken,
      caFile: coordinator.caFile ?? folders.coordinatorAuthority,
    };
  if (api.port === 0)
    throw new ClusterError("coordinator_unreachable", `the daemon of ${home} is not running, and its port is chosen when it starts`);
  if ([LAN, TAILSCALE].includes(api.host) || reachOf(api.host) === "tailnet")
    throw new ClusterError(
      "coordinator_unreachable",
      `the daemon of ${home} is not running; its address is ${api.host === LAN ? "looked up" : "asked of Tailscale"} when it starts`,
    );
  const scheme = needsTls(api.host) ? "https" : "http";
  return { urls: [`${scheme}://${bracketed(ownSide(api.host))}:${api.port}`], ...own };
}

async function tokenIn(path: string): Promise<string | undefined> {
  try {
    return await readSecret(path);
  } catch (error) {
    throw new ClusterError("unauthorized", `cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** A coordinator's address, without a slash at its end. */
export function readUrl(text: string): string {
  // Said before the address is quoted: whatever stands at these marks may be a secret.
  if (/[@?#]/.test(text)) throw new ClusterError("usage", "pass the token with --token-file, not inside the address");
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) throw new ClusterError("usage", `not an http address: ${text}`);
  return url.href.replace(/\/+$/, "");
}

/** One, or several with commas. */
function readUrls(text: string): readonly string[] {
  return [...new Set(text.split(",").map(readUrl))];
}

export function isLoopback(url: string): boolean {
  return reachOf(new URL(url).hostname) === "loopback";
}
