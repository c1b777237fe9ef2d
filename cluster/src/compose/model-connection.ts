/**
 * Connects this machine's OpenClaw with this node's endpoint for models, and takes that back: a change of OpenClaw's settings, told
 * before it is made.
 *
 * C1. Nothing but `models.providers.cluster` is changed, and a provider of that name that is not ours only where its owner says so.
 * C2. What was made around it is kept in mind in the cluster's folder, and is taken away with it where it is empty then.
 */
import { homedir } from "node:os";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { z } from "zod";
import {
  CONTEXT_TOKENS_MIN,
  isOurs,
  makeProvider,
  masked,
  Provider,
  PROVIDER,
  PROVIDER_PATH,
  usesOf,
  type WishedModel,
} from "../openclaw/model-provider.ts";
import { editSettings } from "../openclaw/settings-edit.ts";
import { readSettings, writeSettings, type SettingsFile } from "../openclaw/settings-file.ts";
import { foldersOf, readTextFile, writePrivateFile, type Environment } from "../system/folders.ts";
import { askEndpoint, contextOf, ownEndpoint, type ListedModel, type OwnEndpoint } from "./own-models.ts";

export { CONTEXT_TOKENS_MIN };

export interface Here {
  readonly home: string;
  readonly env: Environment;
}

export interface ConnectWish {
  /** Names beside `auto`. */
  readonly models: readonly string[];
  /** In place of what the endpoint tells. */
  readonly contextTokens?: number;
  /** C1: also where another provider has that name. */
  readonly replace: boolean;
}

export interface Connection {
  readonly kind: "connect" | "disconnect";
  readonly file: string;
  /** Without keys, for people. */
  readonly before: Provider | undefined;
  readonly after: Provider | undefined;
  /** undefined: all is as wished. */
  readonly text: string | undefined;
  /** What its models are, as the endpoint lists them now. */
  readonly listed: readonly ListedModel[];
  /** disconnect: where else the settings name a model of it. */
  readonly uses: readonly string[];
  readonly found: SettingsFile;
}

/** Throws where the daemon, or OpenClaw, is not there, or something else has the name. */
export async function planConnect(here: Here, wish: ConnectWish): Promise<Connection> {
  const found = await openSettings(here);
  const { endpoint, listed } = await openEndpoint(here);
  const present = providerIn(found);
  if (present !== undefined && !isOurs(present) && !wish.replace) throw foreign(found, "--replace puts ours in its place");
  const names = [...new Set(["auto", ...wish.models])];
  const models = names.map((id): WishedModel => {
    const contextTokens = wish.contextTokens ?? contextOf(id, listed);
    return { id, ...(contextTokens !== undefined && { contextTokens }) };
  });
  const old = present !== undefined && isOurs(present) ? present : undefined;
  const wished = makeProvider({ baseUrl: endpoint.url, apiKey: endpoint.key, models }, old);
  return { ...planned("connect", found, present, wished, 0), listed };
}

/** Throws where OpenClaw is not there, or the provider of that name is not ours. */
export async function planDisconnect(here: Here): Promise<Connection> {
  const found = await openSettings(here);
  const present = providerIn(found);
  if (present === undefined) return planned("disconnect", found, undefined, undefined, 0);
  if (!isOurs(present)) throw foreign(found, "it stays");
  const { file, made } = await kept(here);
  return planned("disconnect", found, present, undefined, file === found.file ? made : 0);
}

/** Where the former text of the settings lies then. */
export async function carryOut(here: Here, { kind, text, found }: Connection): Promise<string | undefined> {
  if (text === undefined) return undefined;
  const made = kind === "connect" && providerIn(found) === undefined ? missing(found.settings) : undefined;
  const written = await writeSettings(found, text, here.env);
  if (written.kind === "refused") throw new ClusterError("gateway_refused", `${written.reason}; nothing was changed`);
  if (made !== undefined) await writePrivateFile(keptFile(here), `${JSON.stringify({ file: found.file, made })}\n`);
  return written.backup;
}

/** What OpenClaw's settings say of our provider. undefined: nothing, or they cannot be read. */
export async function presentProvider({ env }: Pick<Here, "env">): Promise<{ file: string; provider: Provider } | undefined> {
  const read = await readSettings({ env, homedir: homedir() });
  const provider = read.kind === "found" ? providerIn(read.found) : undefined;
  return read.kind === "none" || provider === undefined || !isOurs(provider) ? undefined : { file: read.found.file, provider };
}

function planned(
  kind: Connection["kind"],
  found: SettingsFile,
  before: Provider | undefined,
  after: Provider | undefined,
  made: number,
): Connection {
  const isAsWished = isDeepStrictEqual(before, after);
  const edited = isAsWished ? undefined : editSettings(found.text, PROVIDER_PATH, after, made);
  if (edited?.kind === "refused")
    throw new ClusterError("usage", `${found.file} cannot be changed here, ${edited.reason}; \`openclaw config set\` can`);
  return {
    ...{ kind, found, file: found.file, text: edited?.text, listed: [] },
    before: before && masked(before),
    after: after && masked(after),
    uses: kind === "disconnect" ? usesOf(found.settings) : [],
  };
}

async function openSettings({ env }: Here): Promise<SettingsFile> {
  const read = await readSettings({ env, homedir: homedir() });
  if (read.kind === "none") throw new ClusterError("binary_missing", read.reason);
  return read.found;
}

async function openEndpoint({ home }: Here): Promise<{ endpoint: OwnEndpoint; listed: readonly ListedModel[] }> {
  const endpoint = await ownEndpoint(home);
  const start = "Start this machine's daemon: openclaw-cluster start";
  if (endpoint === undefined)
    throw new ClusterError(
      "coordinator_unreachable",
      `this machine has no endpoint for models yet. ${start} (and models.enabled is not off)`,
    );
  const answer = await askEndpoint(endpoint);
  switch (answer.kind) {
    case "answers":
      return { endpoint, listed: answer.models };
    case "refuses":
      throw new ClusterError(
        "coordinator_unreachable",
        `what listens at ${endpoint.url} ${answer.reason}. Start this machine's daemon again`,
      );
    case "silent":
      throw new ClusterError("coordinator_unreachable", `nothing answers at ${endpoint.url} (${answer.reason}). ${start}`);
  }
}

const member = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;

function providerIn({ file, settings }: SettingsFile): Provider | undefined {
  const value = PROVIDER_PATH.reduce(member, settings);
  if (value === undefined) return undefined;
  const provider = Provider.safeParse(value);
  if (provider.success) return provider.data;
  throw new ClusterError("usage", `${PROVIDER_PATH.join(".")} in ${file} is no provider of models; \`openclaw config validate\` says more`);
}

const foreign = ({ file }: SettingsFile, what: string): ClusterError =>
  new ClusterError("usage", `${file} has a provider ${PROVIDER} that is not ours; ${what}`);

/** How many objects on the way to it are not there yet. */
function missing(settings: unknown): number {
  const way = PROVIDER_PATH.slice(0, -1);
  return way.filter((_name, depth) => way.slice(0, depth + 1).reduce(member, settings) === undefined).length;
}

const Kept = z.object({ file: z.string(), made: z.int().min(0).max(2) });
const keptFile = ({ home }: Here): string => path.join(foldersOf(home).data, "openclaw-provider.json");

/** C2. */
async function kept(here: Here): Promise<z.infer<typeof Kept>> {
  try {
    return Kept.parse(JSON.parse((await readTextFile(keptFile(here))) ?? ""));
  } catch {
    // Nobody knows any more: then an empty object stays behind.
    return { file: "", made: 0 };
  }
}
