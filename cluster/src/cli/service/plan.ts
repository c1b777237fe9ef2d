/**
 * What a service manager shall run, whichever it is: this Node, this program and this home, all by their absolute paths, with
 * the little of the present environment that a daemon needs and a service manager would not give it.
 *
 * P1. No secret: of the environment only names on a list go into a unit, which other users can read. Settings are none, by
 *     rule C1 of config-schema.ts.
 * P2. Nothing that a unit's language could not hold is cut or replaced: it is refused.
 */
import path from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { FIELDS } from "../../system/config-schema.ts";
import type { Environment } from "../../system/folders.ts";

export interface ServicePlan {
  /** Of the unit: `openclaw-cluster`. */
  readonly name: string;
  readonly node: string;
  readonly program: string;
  readonly home: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Whose daemon it is, where the unit is the machine's. */
  readonly user?: string;
}

export const NAME_DEFAULT = "openclaw-cluster";
/** Running attempts get 20 s (compose/work-role.ts); what is left is closed after them. */
export const STOP_S_MAX = 40;
export const RESTART_S = 5;
/** A wrong setting, a taken port: starting again does not help. */
export const EXIT_FOR_GOOD = 2;

const PLACES = ["OPENCLAW_STATE_DIR", "OPENCLAW_CONFIG_PATH", "OPENCLAW_HOME", "OPENCLAW_CLUSTER_CACHE"];
const CARRIED: ReadonlySet<string> = new Set([...PLACES, ...FIELDS.map(({ env }) => env)]);
/** What a daemon would read there, and where it belongs instead. Either can hold a secret. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  OPENCLAW_GATEWAY_TOKEN: "write it into a file that only you can read, and name that: config set openclaw.tokenFile <file>",
  OPENCLAW_GATEWAY_URL: "config set openclaw.url <address>",
};

export function planService(parts: Omit<ServicePlan, "environment"> & { readonly env: Environment }): ServicePlan {
  const { env, ...rest } = parts;
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(rest.name))
    throw new ClusterError("usage", `--name ${rest.name}: 1 to 63 characters of a-z, 0-9 and -`);
  const plan = { ...rest, environment: serviceEnvironment(env) };
  for (const text of [plan.node, plan.program, plan.home, plan.user ?? "", ...Object.values(plan.environment)]) checkText(text);
  return plan;
}

export const argvOf = ({ program, home }: ServicePlan): readonly string[] => [program, "start", "--home", home];

/** PATH, on which the commands of tasks are looked up, and the cluster's own names (P1). */
export function serviceEnvironment(env: Environment): Record<string, string> {
  const carried = Object.entries(env).filter((entry): entry is [string, string] => CARRIED.has(entry[0]) && !!entry[1]);
  const found = searchPath(env["PATH"] ?? "");
  return { ...(found !== "" && { PATH: found }), ...Object.fromEntries(carried.toSorted(([a], [b]) => (a < b ? -1 : 1))) };
}

/** Each with what to do instead. */
export function leftOut(env: Environment): { readonly name: string; readonly instead: string }[] {
  return Object.entries(LEFT_OUT).flatMap(([name, instead]) => (env[name] ? [{ name, instead }] : []));
}

/** Without what npm puts in front for one run, and without what means another folder wherever a program stands. */
function searchPath(text: string): string {
  const folders = text
    .split(path.delimiter)
    .filter((folder) => path.isAbsolute(folder) && !/[/\\](node_modules[/\\]\.bin|node-gyp-bin)[/\\]?$/.test(folder));
  return [...new Set(folders)].join(path.delimiter);
}

/** P2: neither a line of a unit file nor XML can hold them. */
function checkText(text: string): void {
  if (/[\u0000-\u001f\u007f\uFFFE\uFFFF]/.test(text) || !text.isWellFormed())
    throw new ClusterError("usage", `${JSON.stringify(text)} holds a character that a service's description cannot`);
}
