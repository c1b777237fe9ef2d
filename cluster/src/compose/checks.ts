/**
 * What `doctor` looks at on this machine. Each check says what it found and, where that is not well, what to do. A
 * check changes nothing, asks no other machine and never throws.
 */
import { homedir } from "node:os";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { decide, DEFAULT_POLICY } from "../core/policy.ts";
import { summary } from "../core/policy-facts.ts";
import { discoverGateway } from "../openclaw/discover.ts";
import { ownSide, reachOf } from "../system/address.ts";
import { resolveBinary } from "../system/binaries.ts";
import { localTimeZone } from "../system/clock.ts";
import { loadConfig, type ClusterConfig } from "../system/config.ts";
import { LAN, TAILSCALE } from "../system/config-schema.ts";
import { cacheFolder, foldersOf, readSecret, type Environment, type Folders } from "../system/folders.ts";
import { silentLog } from "../system/log.ts";
import { outwardAddresses, ownAddresses } from "../system/own-addresses.ts";
import { powerReader } from "../system/power-reading.ts";
import { askTailscale, tailnetAddress, type Tailscale } from "../system/tailscale.ts";
import { compareVersions, isAtLeast } from "../system/version.ts";
import { policyFaultText, readPolicy } from "../worker/policy-reading.ts";
import { checkAuthority, checkJoinedAuthority, checkShownCertificate } from "./check-certificates.ts";
import { checkDisk, checkFolders, checkPort } from "./check-places.ts";
import { checkCommands } from "./check-commands.ts";
import { checkConnection, checkModels } from "./check-models.ts";
import { checkPower } from "./check-power.ts";
import { checkTailscale } from "./check-tailscale.ts";
import { fail, ok, warn, type Check } from "./check.ts";
import { lanAddress } from "./listening-place.ts";

interface Machine {
  readonly home: string;
  readonly env: Environment;
}

const GATEWAY_ANSWERS_MS = 3_000;
/** No clock is right that shows a time before this program was written. */
const CLOCK_FLOOR = Date.UTC(2026, 0, 1);

export async function checkMachine({ home, env }: Machine): Promise<Check[]> {
  const folders = foldersOf(home);
  const settings = await loadConfig({ home, env }).then(
    (config) => ({ config, check: ok("cluster.yaml", `${config.nodeId}, ${config.roles.join(" and ")}`) }),
    (error: unknown) => ({
      config: undefined,
      check: fail("cluster.yaml", told(error), "Correct it as said; `openclaw-cluster config schema` describes every field."),
    }),
  );
  const { config } = settings;
  const parts = config === undefined ? [] : checkParts(config, folders, env);
  const kept = config?.roles.includes("coordinator") === true ? config.retention : undefined;
  const disk = checkDisk(home, config?.diskFloorMiB ?? 0, kept);
  const commands = config?.roles.includes("worker") === true ? [checkCommands(folders, env)] : [];
  const found = await Promise.all([checkNode(), checkFolders(folders, tokenFiles(config)), disk, ...commands, ...parts]);
  return [settings.check, checkPolicy(folders), checkClock(Date.now()), ...found.filter((check) => check !== undefined)];
}

function tokenFiles(config: ClusterConfig | undefined): string[] {
  return [config?.coordinator.tokenFile, config?.openclaw.tokenFile].filter((file) => file !== undefined);
}

function checkParts(config: ClusterConfig, folders: Folders, env: Environment): Promise<Check | undefined>[] {
  const { api, nats, roles, openclaw, models } = config;
  const leads = roles.includes("coordinator");
  const tailscale = askTailscale({ env });
  const checkPortThere = async (name: string, port: number, loopback = api.host): Promise<Check> => {
    const host = reachOf(api.host) === "loopback" ? loopback : await hostBehind(api.host, tailscale);
    return typeof host === "string" ? checkPort(name, host, port, folders) : host(name, port);
  };
  return [
    ...(leads ? [checkNats(config, env), checkPortThere("API port", api.port)] : []),
    ...(leads && nats.port !== undefined ? [checkPortThere("NATS port", nats.port, "127.0.0.1")] : []),
    ...(leads ? [checkAuthority(folders), checkShownCertificate(folders)] : [checkJoinedAuthority(config, folders)]),
    tailscale.then((found) => checkTailscale(config, found)),
    ...(roles.includes("worker") && openclaw.enabled === "auto" ? [checkOpenClaw(config, env)] : []),
    ...(models.enabled === "auto" ? [checkModels(folders), checkConnection(folders, env), checkLending(config, folders, env)] : []),
  ];
}

/** undefined: a machine that only leads lends nothing. */
async function checkLending({ roles }: ClusterConfig, folders: Folders, env: Environment): Promise<Check | undefined> {
  return roles.includes("worker") ? checkPower(folders, powerReader({ platform: process.platform, env })) : undefined;
}

/** The address behind `api.host`; where it cannot be told, what there is to say of a port. */
async function hostBehind(host: string, tailscale: Promise<Tailscale>): Promise<string | ((name: string, port: number) => Check)> {
  if (host === TAILSCALE) {
    const found = await tailscale;
    const address = found.kind === "running" ? tailnetAddress(found) : undefined;
    return address ?? ((name, port) => warn(name, `${port}, of an address that only Tailscale knows`, "See what is said of Tailscale."));
  }
  if (host !== LAN) return ownSide(host);
  try {
    return lanAddress(ownAddresses(), await outwardAddresses());
  } catch (error) {
    return (name) => fail(name, told(error), "Connect the machine to its network, or set api.host to an address of it.");
  }
}

async function checkNode(): Promise<Check> {
  const { DatabaseSync } = await import("node:sqlite");
  const database = new DatabaseSync(":memory:");
  const { version } = database.prepare("SELECT sqlite_version() AS version").get() as { version: string };
  // Builds below the range cut a text at its first NUL without a word.
  const { kept } = database.prepare("SELECT ? AS kept").get("a\0b") as { kept: string };
  database.close();
  const found = `${process.versions.node} with SQLite ${version}`;
  const advice = "Install Node.js 24.16 or newer in 24, or 26.1 or newer.";
  if (!nodeInRange(process.versions.node) || kept !== "a\0b") return fail("Node.js", found, advice);
  return sqliteIsSafe(version) ? ok("Node.js", found) : warn("Node.js", `${found}, which can damage its write-ahead log`, advice);
}

/** OpenClaw's own range. */
export function nodeInRange(version: string): boolean {
  const major = Number(version.split(".")[0]);
  return major === 24 ? isAtLeast(version, "24.16.0") : major >= 26 && isAtLeast(version, "26.1.0");
}

/** The reset of the write-ahead log was mended in 3.51.3, and before that in two older lines. */
export function sqliteIsSafe(version: string): boolean {
  if (isAtLeast(version, "3.51.3")) return true;
  return [["3.50.7", "3.51.0"] as const, ["3.44.6", "3.45.0"] as const].some(
    ([from, below]) => isAtLeast(version, from) && compareVersions(version, below) < 0,
  );
}

async function checkNats({ nats }: ClusterConfig, env: Environment): Promise<Check> {
  const named = nats.binary === undefined ? env : { ...env, OPENCLAW_CLUSTER_NATS_BIN: nats.binary };
  try {
    const { path, version, source } = await resolveBinary("nats-server", {
      cacheFolder: cacheFolder(env),
      log: silentLog,
      env: named,
      offline: true,
    });
    return ok("nats-server", `${version}, ${path} (${source})`);
  } catch (error) {
    return warn("nats-server", told(error), "`start` fetches it by itself where there is a network.");
  }
}

export async function checkOpenClaw({ openclaw }: ClusterConfig, env: Environment): Promise<Check> {
  try {
    const token = openclaw.tokenFile === undefined ? undefined : await readSecret(openclaw.tokenFile);
    const gateway = await discoverGateway({
      env,
      homedir: homedir(),
      ...(openclaw.url !== undefined && { url: openclaw.url }),
      ...(token !== undefined && { token }),
    });
    if (gateway.kind === "none")
      return warn(
        "OpenClaw",
        gateway.reason,
        "Agent and tool tasks go to other nodes; install OpenClaw here, or set openclaw.enabled to off.",
      );
    const health = new URL("/healthz", gateway.url.replace(/^ws/, "http"));
    const answer = await fetch(health, { signal: AbortSignal.timeout(GATEWAY_ANSWERS_MS) });
    await answer.body?.cancel();
    return answer.ok
      ? ok("OpenClaw", `Gateway at ${gateway.url}`)
      : warn("OpenClaw", `the Gateway at ${gateway.url} answers ${answer.status}`, "Run `openclaw doctor`.");
  } catch (error) {
    return warn("OpenClaw", `its Gateway does not answer: ${told(error)}`, "Start it with `openclaw gateway`.");
  }
}

/** Read by the worker's own reader, so that both judge alike. */
export function checkPolicy({ policy: file }: Folders): Check {
  const reading = readPolicy(file);
  if (reading.kind === "broken")
    return fail(
      "policy.yaml",
      reading.faults.map((fault) => policyFaultText(file, fault)).join("; "),
      "Until it is put right, everything is denied on this node.",
    );
  const policy = reading.kind === "read" ? reading.policy : DEFAULT_POLICY;
  const { kinds, users, hours } = summary(policy, { now: Date.now(), timeZone: localTimeZone() });
  const all = decide(policy, { kind: "model", input: { prompt: "hello" } }).allow ? [...kinds, "model"] : kinds;
  if (all.length === 0) return warn("policy.yaml", "nothing may run here", `Allow something in ${file}.`);
  const quiet = hours?.quiet && ` (nothing new now${hours.quiet.text === undefined ? "" : `, until ${hours.quiet.text}`})`;
  const whom = users === undefined ? "" : `, for ${usersText(users)}`;
  return ok("policy.yaml", `may run here: ${all.join(", ")}${whom}${quiet ?? ""}`);
}

function usersText({ allow, deny }: { allow: readonly string[]; deny: readonly string[] }): string {
  const open = allow.includes("*") ? "everybody" : allow.join(", ") || "nobody";
  return deny.length === 0 ? open : `${open}, never ${deny.join(", ")}`;
}

export function checkClock(now: number): Check {
  const shown = new Date(now).toISOString();
  return now >= CLOCK_FLOOR ? ok("clock", shown) : fail("clock", `it shows ${shown}`, "Set the clock; leases and time-outs depend on it.");
}

/** The first line, and the cause's where that says more (fetch hides the reason there). */
function told(error: unknown): string {
  if (error instanceof ClusterError) return error.detail;
  const { message, cause } = error as Error;
  return `${message}${cause instanceof Error ? `: ${cause.message}` : ""}`.split("\n", 1)[0] ?? "";
}
