/** cluster.yaml as a document: read with the line of every mistake, edited without losing a comment. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Document } from "yaml";
import { ConfigSchema, type ConfigPatch } from "./config-schema.ts";
import { readTextFile, writePrivateFile } from "./folders.ts";
import { faultText, readYaml, schemaFaults, syntaxFault, type YamlDocument } from "./yaml-document.ts";

const FILE_CHARS_MAX = 256 * 1024;
const ISSUES_TOLD_MAX = 5;
const HEADER = " Settings of this machine. `openclaw-cluster config schema` describes every field;\n unset ones have their defaults.";

interface Opened extends YamlDocument {
  readonly path: string;
  readonly text: string;
}

/** The file's settings; none when there is no file. */
export async function readConfigFile(path: string): Promise<ConfigPatch> {
  return check(await open(path));
}

/** Sets what the patch names, removes what it names as null, and leaves all else as it is. False: nothing changed. */
export async function editConfigFile(path: string, patch: ConfigPatch): Promise<boolean> {
  const opened = await open(path);
  check(opened);
  apply(opened.document, [], patch);
  const text = opened.document.toString({ lineWidth: 0 });
  if (text === opened.text) return false;
  check({ ...opened, ...readYaml(text) });
  await writePrivateFile(path, text);
  return true;
}

async function open(path: string): Promise<Opened> {
  const text = (await readTextFile(path)) ?? "";
  if (text.length > FILE_CHARS_MAX) throw new ClusterError("config_invalid", `${path} is longer than ${FILE_CHARS_MAX} characters`);
  const parsed = readYaml(text);
  if (text === "") parsed.document.commentBefore = HEADER;
  return { path, text, ...parsed };
}

function check({ path, ...yaml }: Opened): ConfigPatch {
  const broken = syntaxFault(yaml);
  if (broken !== undefined) throw new ClusterError("config_invalid", faultText(path, broken));
  const settings: unknown = yaml.document.toJS() ?? {};
  const result = ConfigSchema.safeParse(settings);
  if (result.success) return settings as ConfigPatch;
  const told = schemaFaults(yaml, result.error).slice(0, ISSUES_TOLD_MAX);
  throw new ClusterError("config_invalid", told.map((fault) => faultText(path, fault)).join("; "));
}

function apply(document: Document, at: readonly string[], patch: object): void {
  for (const [key, value] of Object.entries(patch) as [string, unknown][]) {
    const path = [...at, key];
    if (value === undefined) continue;
    if (value === null) document.deleteIn(path);
    else if (typeof value === "object" && !Array.isArray(value)) apply(document, path, value);
    else document.setIn(path, Array.isArray(value) ? document.createNode(value) : value);
  }
}
