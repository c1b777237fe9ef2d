/**
 * Finds the coordinator and the token for it: flag, else environment, else the settings of this machine's home.
 *
 * K1. A token from the home goes to the home's own coordinator or to this machine, nowhere else: a typing mistake in
 *     --url must not hand the administrator's secret to a stranger.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { bracketed, reachOf } from "../system/address.ts";
import { clusterHome, foldersOf, readSecret, type Environment } from "../system/folders.ts";

export interface ConnectionFlags {
  readonly home?: string;
  readonly url?: string;
  readonly token?: string;
  readonly tokenFile?: string;
}

export interface Connection {
  /** Without a slash at the end. */
  readonly url: string;
  readonly token: string;
}

interface HomeSays {
  readonly url: string;
  readonly tokenFile: string;
}

export async function findConnection(flags: ConnectionFlags, env: Environment, warn: (text: string) => void): Promise<Connection> {
  const given = flags.url ?? env["OPENCLAW_CLUSTER_URL"];
  const url = given ? readUrl(given) : undefined;
  const token = await givenToken(flags, env, warn);
  if (url !== undefined && token !== undefined) return { url, token };
  const own = await askHome(flags, env);
  if (token !== undefined) return { url: own.url, token };
  if (url !== undefined && url !== own.url && !isLoopback(url)) {
    throw new ClusterError("unauthorized", `no token for ${url}: the one in this machine's home is for ${own.url} only`);
  }
  const kept = await tokenIn(own.tokenFile);
  if (kept !== undefined) return { url: url ?? own.url, token: kept };
  if (url !== undefined) throw new ClusterError("unauthorized", `no token for ${url}, and there is no ${own.tokenFile}`);
  throw new ClusterError(
    "coordinator_unreachable",
    `no cluster has been started in this folder (there is no ${own.tokenFile}): run \`openclaw-cluster start\``,
  );
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
  if (running !== undefined) return { url: readUrl(running), tokenFile: folders.adminToken };
  const [{ loadConfig }, { TAILSCALE }] = await Promise.all([import("../system/config.ts"), import("../system/config-schema.ts")]);
  const { roles, api, coordinator } = await loadConfig({ home, env });
  if (!roles.includes("coordinator"))
    return { url: readUrl(coordinator.url ?? ""), tokenFile: coordinator.tokenFile ?? folders.coordinatorToken };
  if (api.port === 0)
    throw new ClusterError("coordinator_unreachable", `the daemon of ${home} is not running, and its port is chosen when it starts`);
  if (api.host === TAILSCALE)
    throw new ClusterError(
      "coordinator_unreachable",
      `the daemon of ${home} is not running; its address is asked of Tailscale when it starts`,
    );
  return { url: `http://${bracketed(api.host)}:${api.port}`, tokenFile: folders.adminToken };
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

export function isLoopback(url: string): boolean {
  return reachOf(new URL(url).hostname) === "loopback";
}
