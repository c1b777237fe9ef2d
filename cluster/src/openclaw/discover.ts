/**
 * Finds the OpenClaw Gateway of this machine and the token for it, where OpenClaw itself would look: what we were told,
 * OPENCLAW_GATEWAY_URL, else OpenClaw's settings file. Every reason for finding none is in words for a person.
 *
 * F1. The token goes into the answer and nowhere else; no reason holds anything that was read beside it.
 * F2. A token from OpenClaw's settings is for this machine only: never for an address that somebody else chose.
 * F3. The address holds nothing but protocol, host and port, whatever stood around them.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { parseEnv } from "node:util";
import { z } from "zod";
import { settingsPlace } from "./settings-place.ts";
import { parseSettings } from "./settings-text.ts";

type Environment = Readonly<Record<string, string | undefined>>;

export type FoundGateway =
  | { readonly kind: "found"; readonly url: string; readonly token: string }
  | { readonly kind: "none"; readonly reason: string };

export interface Search {
  readonly env: Environment;
  readonly homedir: string;
  /** From our own settings; they go before everything else. */
  readonly url?: string;
  readonly token?: string;
}

const PORT_DEFAULT = 18_789;
const SETTINGS_CHARS_MAX = 4 * 1024 * 1024;

const EnvRef = z.looseObject({ source: z.literal("env"), id: z.string() });
const Secret = z.union([z.string(), EnvRef, z.looseObject({})]);
const Settings = z.looseObject({
  gateway: z
    .looseObject({
      mode: z.string().optional(),
      port: z.int().min(1).max(65_535).optional(),
      auth: z.looseObject({ mode: z.string().optional(), token: Secret.optional(), password: Secret.optional() }).optional(),
      tls: z.looseObject({ enabled: z.boolean().optional() }).optional(),
    })
    .optional(),
  $include: z.unknown().optional(),
});
type Gateway = NonNullable<z.infer<typeof Settings>["gateway"]>;

export async function discoverGateway(search: Search): Promise<FoundGateway> {
  const { env } = search;
  const given = search.url ?? (env["OPENCLAW_GATEWAY_URL"] || undefined);
  const url = given === undefined ? undefined : bareAddress(given);
  const token = search.token ?? (env["OPENCLAW_GATEWAY_TOKEN"] || undefined);
  if (url !== undefined && token !== undefined) return { kind: "found", url, token };
  if (url !== undefined && !isLoopback(url))
    return none(`There is an address of an OpenClaw Gateway, ${hostOf(url)}, but no token for it: set OPENCLAW_GATEWAY_TOKEN.`);
  const local = await readLocal(search);
  if (local.kind === "none" || url === undefined) return local;
  return { ...local, url };
}

async function readLocal({ env, homedir, token: given }: Search): Promise<FoundGateway> {
  const { stateFolder, file } = settingsPlace({ env, homedir });
  const text = await read(file);
  if (text === undefined) return none(`OpenClaw is not set up here: there is no ${file}.`);
  if (text.length > SETTINGS_CHARS_MAX) return none(`${file} is too large to be OpenClaw's settings.`);
  const settings = Settings.safeParse(tryParse(text));
  if (!settings.success) return none(`${file} cannot be read as OpenClaw's settings; \`openclaw config validate\` says why.`);

  const variables = { ...parseEnv((await read(path.join(stateFolder, ".env"))) ?? ""), ...env };
  const gateway = settings.data.gateway ?? {};
  const obstacle = obstacleIn(gateway, file);
  if (obstacle !== undefined) return none(obstacle);
  const url = `ws://127.0.0.1:${Number(variables["OPENCLAW_GATEWAY_PORT"]) || (gateway.port ?? PORT_DEFAULT)}`;
  if (gateway.auth?.mode === "none") return { kind: "found", url, token: "" };
  const token =
    given ??
    secretOf(gateway.auth?.token, variables) ??
    (gateway.auth?.token === undefined ? variables["OPENCLAW_GATEWAY_TOKEN"] : undefined);
  if (token) return { kind: "found", url, token };
  return none(noToken(gateway, file, settings.data.$include !== undefined));
}

function obstacleIn(gateway: Gateway, file: string): string | undefined {
  if (gateway.mode === "remote") return `OpenClaw uses a Gateway on another machine (gateway.mode in ${file}); the worker there serves it.`;
  if (gateway.tls?.enabled) return `The Gateway speaks TLS (gateway.tls in ${file}): name its wss:// address in openclaw.url.`;
  const mode = gateway.auth?.mode;
  if (mode === "password" || mode === "trusted-proxy")
    return `The Gateway's gateway.auth.mode in ${file} is ${mode}; the cluster needs token.`;
  return undefined;
}

function noToken(gateway: Gateway, file: string, includes: boolean): string {
  if (gateway.auth?.token !== undefined)
    return `gateway.auth.token in ${file} refers to a secret that cannot be read here: set OPENCLAW_GATEWAY_TOKEN.`;
  if (includes) return `${file} includes other files, which are not read here: set OPENCLAW_GATEWAY_TOKEN.`;
  return `There is no gateway.auth.token in ${file}: run \`openclaw configure --section gateway\` or set OPENCLAW_GATEWAY_TOKEN.`;
}

/** A text with `${NAME}` in it, or a reference to a variable. Other kinds of secrets are OpenClaw's own. */
function secretOf(secret: z.infer<typeof Secret> | undefined, variables: Environment): string | undefined {
  if (secret === undefined) return undefined;
  if (typeof secret !== "string") {
    const reference = EnvRef.safeParse(secret);
    return reference.success ? variables[reference.data.id] : undefined;
  }
  let missing = false;
  const text = secret.replace(/(\$?)\$\{([A-Z_][A-Z0-9_]*)\}/g, (_whole, escaped: string, name: string) => {
    if (escaped !== "") return `\${${name}}`;
    missing ||= !variables[name];
    return variables[name] ?? "";
  });
  return missing ? undefined : text;
}

async function read(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    // Not readable for us, or not a file: as good as none, and what is wrong shows in `openclaw doctor`.
    if (code === "EACCES" || code === "EISDIR") return "";
    throw error;
  }
}

function tryParse(text: string): unknown {
  try {
    return parseSettings(text);
  } catch {
    // Whatever it is, it is not what the schema asks for.
    return undefined;
  }
}

function isLoopback(url: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(URL.parse(url)?.hostname ?? "");
}

/** The dashboard's address, which people copy, has the token behind its #; what is logged and shown must not (F3). */
function bareAddress(text: string): string {
  const url = URL.parse(text);
  // What is no address is refused where it is used, without being quoted.
  return url === null || url.host === "" ? text : `${url.protocol}//${url.host}`;
}

function hostOf(url: string): string {
  return URL.parse(url)?.host ?? "not a URL";
}

function none(reason: string): FoundGateway {
  return { kind: "none", reason };
}
