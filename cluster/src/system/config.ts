/**
 * A node's settings: flag, else environment, else cluster.yaml, else default; each layer only says what it wants to
 * change. What stands in config-schema.ts is the whole list.
 *
 * C2. A wrong setting is never replaced by a default: it ends the start with config_invalid, naming the file and line,
 *     or the variable, and the field.
 */
import { createHash } from "node:crypto";
import { availableParallelism, hostname } from "node:os";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { parse as parseYaml } from "yaml";
import type { z } from "zod";
import { reachOf } from "./address.ts";
import { editConfigFile, readConfigFile } from "./config-file.ts";
import { ConfigSchema, FIELDS, LAN, TAILSCALE, type ConfigPatch, type Field } from "./config-schema.ts";
import { clusterHome, foldersOf, makeFolders, type Environment } from "./folders.ts";

type Said = z.output<typeof ConfigSchema>;

/** The settings with everything decided. */
export type ClusterConfig = Omit<Said, "nodeId" | "slots" | "retention"> & { nodeId: NodeId; slots: number; retention: Retention };

/** Of finished tasks. */
export interface Retention {
  readonly days: number;
  /** 0: any number. */
  readonly tasks: number;
}

/**
 * etcd keeps all of it on every member and in a database of a few GiB, and whoever takes over reads the list of it; a file is one
 * machine's own.
 */
const RETENTION: Record<Said["store"]["kind"], Retention> = { sqlite: { days: 30, tasks: 0 }, etcd: { days: 7, tasks: 20_000 } };

export interface ConfigSources {
  /** The `--home` flag, where given; else the environment says. */
  readonly home?: string | undefined;
  readonly flags?: ConfigPatch;
  readonly env: Environment;
}

export async function loadConfig(sources: ConfigSources): Promise<ClusterConfig> {
  const home = clusterHome(sources);
  const file = await readConfigFile(foldersOf(home).config);
  const layers = [file, fromEnvironment(sources.env), sources.flags ?? {}];
  const result = ConfigSchema.safeParse(layers.reduce<Settings>((below, above) => overlay(below, above), {}));
  if (!result.success) throw new ClusterError("config_invalid", issueText(result.error));
  const config = result.data;
  if (!config.roles.includes("coordinator") && config.coordinator.url === undefined) {
    throw new ClusterError(
      "config_invalid",
      "coordinator.url: a machine that only works must know where its coordinator is; `openclaw-cluster join` writes it",
    );
  }
  const { host, public: isPublic } = config.api;
  if (!isPublic && ![LAN, TAILSCALE].includes(host) && reachOf(host) === "elsewhere") {
    throw new ClusterError(
      "config_invalid",
      `api.host: ${host} may be reached from anywhere. Name one address of a network of yours (lan or tailscale stand for this machine's), or set api.public to true as well`,
    );
  }
  const own = { nodeId: config.nodeId ?? nodeIdFrom(hostname()), slots: config.slots ?? slotsFor(availableParallelism()) };
  const { days, tasks } = config.retention;
  const usual = RETENTION[config.store.kind];
  return { ...config, ...own, retention: { days: days ?? usual.days, tasks: tasks ?? usual.tasks } };
}

/** Writes settings into the home's cluster.yaml; comments stay. False: they stood there already. */
export async function saveConfig(home: string, patch: ConfigPatch): Promise<boolean> {
  const folders = foldersOf(home);
  await makeFolders(folders);
  return editConfigFile(folders.config, patch);
}

/** Keeps the node's id for good: a machine whose host name changes must not come back as another node. */
export async function keepNodeId(home: string, nodeId: NodeId): Promise<void> {
  const file = await readConfigFile(foldersOf(home).config);
  if (file.nodeId === undefined) await saveConfig(home, { nodeId });
}

/** [["api.port", "9000"]] as a patch. Throws `usage` for a field that is not there and a text that does not fit. */
export function patchFromText(settings: readonly (readonly [name: string, text: string])[]): ConfigPatch {
  return settings.reduce<Settings>((patch, [name, text]) => {
    const field = fieldNamed(name);
    return overlay(patch, nest(field.path, valueFromText(field, text, name, "usage")));
  }, {});
}

/** A patch that takes the setting back out of the file. */
export const patchWithout = (name: string): ConfigPatch => nest(fieldNamed(name).path, null);

/** One setting, or a section of them, by its name; undefined where it is unset. */
export function settingNamed(config: ClusterConfig, name: string): unknown {
  const path = Object.hasOwn(ConfigSchema.shape, name) ? [name] : fieldNamed(name).path;
  return path.reduce<unknown>((section, key) => (section as Settings)[key], config);
}

/** `studio.local` is `studio`, `Li's MacBook Pro` is `lismacbookpro`; a name without a usable letter gives a hash of itself. */
export function nodeIdFrom(host: string): NodeId {
  const plain = (host.split(".")[0] ?? "")
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, "")
    .slice(0, 32);
  return NodeId.parse(plain || `n${createHash("sha256").update(host).digest("hex").slice(0, 8)}`);
}

export const slotsFor = (cpus: number): number => Math.min(8, Math.max(2, cpus));

type Settings = { [key: string]: unknown };

function fieldNamed(name: string): Field {
  const field = FIELDS.find((known) => known.name === name);
  if (field === undefined) throw new ClusterError("usage", `there is no setting ${name}; see \`openclaw-cluster config schema\``);
  return field;
}

function fromEnvironment(env: Environment): Settings {
  let patch: Settings = {};
  for (const field of FIELDS) {
    const text = env[field.env];
    if (text) patch = overlay(patch, nest(field.path, valueFromText(field, text, `${field.env} (${field.name})`, "config_invalid")));
  }
  return patch;
}

/** Takes the text as it is where the field is text; else as YAML (8080, [a, b], {gpu: yes}), as a,b or as gpu=yes,room=office. */
function valueFromText(field: Field, text: string, told: string, code: "usage" | "config_invalid"): unknown {
  const readings = [text, yamlValue(text), text.split(","), pairs(text)];
  for (const reading of readings) if (reading !== undefined && field.type.safeParse(reading).success) return reading;
  const result = field.type.safeParse(yamlValue(text) ?? text);
  throw new ClusterError(code, `${told}: ${result.error === undefined ? "not understood" : issueText(result.error)}`);
}

function yamlValue(text: string): unknown {
  try {
    return parseYaml(text, { logLevel: "error" }) as unknown;
  } catch {
    // Not YAML is an answer, not an error: another reading may fit.
    return undefined;
  }
}

function pairs(text: string): Record<string, string> | undefined {
  const parts = text.split(",").map((part) => part.split("=", 2));
  return parts.every((part) => part.length === 2) ? (Object.fromEntries(parts) as Record<string, string>) : undefined;
}

const nest = (path: readonly string[], value: unknown): Settings =>
  path.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as Settings;

/** `above` wins; sections merge, lists and values replace, undefined and null say nothing. */
function overlay(below: Settings, above: object): Settings {
  const merged: Settings = { ...below };
  for (const [key, value] of Object.entries(above) as [string, unknown][]) {
    if (value === undefined || value === null) continue;
    const old = merged[key];
    merged[key] = isSection(old) && isSection(value) ? overlay(old, value) : value;
  }
  return merged;
}

const isSection = (value: unknown): value is Settings => typeof value === "object" && value !== null && !Array.isArray(value);

const issueText = (error: z.ZodError): string => error.issues.map((issue) => [...issue.path, issue.message].join(": ")).join("; ");
