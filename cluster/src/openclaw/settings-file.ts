/**
 * OpenClaw's settings file, for whoever changes something in it.
 *
 * W1. It is replaced at once, after a copy of it was kept, and only if it is still as it was read.
 * W2. Where OpenClaw's own command is at hand it judges the new text before that takes the old one's place.
 */
import { readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import { settingsPlace, type SettingsSearch } from "./settings-place.ts";
import { parseSettings } from "./settings-text.ts";

export interface SettingsFile {
  /** Where a link leads to. */
  readonly file: string;
  readonly text: string;
  readonly settings: unknown;
}
export type FoundSettings = { readonly kind: "found"; readonly found: SettingsFile } | { readonly kind: "none"; readonly reason: string };
export type Written = { readonly kind: "written"; readonly backup: string } | { readonly kind: "refused"; readonly reason: string };

const BYTES_MAX = 4 * 1024 * 1024;
const BACKUP = ".before-cluster";
/** It takes 3 s on two busy cores. */
const VALIDATE_MS_MAX = 60_000;
const WORDS_MAX = 600;

export async function readSettings(search: SettingsSearch): Promise<FoundSettings> {
  const { file } = settingsPlace(search);
  try {
    const real = await realpath(file);
    if ((await stat(real)).size > BYTES_MAX) return none(`${file} is too large to be OpenClaw's settings`);
    const text = await readFile(real, "utf8");
    return { kind: "found", found: { file: real, text, settings: parseSettings(text) } };
  } catch (error) {
    if (error instanceof SyntaxError) return none(`${file} cannot be read as OpenClaw's settings; \`openclaw config validate\` says why`);
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR")
      return none(
        `OpenClaw is not set up here: there is no ${file}. Set it up with \`openclaw onboard\`, or name its file in OPENCLAW_CONFIG_PATH`,
      );
    if (code === undefined) throw error;
    return none(`${file} cannot be read (${code})`);
  }
}

export async function writeSettings({ file, text: before }: SettingsFile, text: string, env: SettingsSearch["env"]): Promise<Written> {
  const draft = `${file}.${crypto.randomUUID()}.tmp`;
  const backup = `${file}${BACKUP}`;
  try {
    // It holds keys, so it is its owner's alone.
    await writeFile(draft, text, { mode: 0o600, flush: true });
    const fault = await faultOf(file, draft, env);
    if (fault !== undefined) return { kind: "refused", reason: `OpenClaw would refuse its settings with this change: ${fault}` };
    if ((await readFile(file, "utf8")) !== before) return { kind: "refused", reason: `${file} was changed meanwhile` };
    await writeFile(backup, before, { mode: 0o600, flush: true });
    await rename(draft, file);
    return { kind: "written", backup };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    return { kind: "refused", reason: `${file} cannot be written (${code})` };
  } finally {
    await rm(draft, { force: true });
  }
}

/** W2; undefined: none, or it cannot be told. */
async function faultOf(file: string, draft: string, env: SettingsSearch["env"]): Promise<string | undefined> {
  // The settings may refer to any variable, so the owner's command gets what it has when its owner types it.
  const run = await execa("openclaw", ["config", "validate"], {
    env: { ...env, OPENCLAW_CONFIG_PATH: draft, NO_COLOR: "1" },
    extendEnv: false,
    stdin: "ignore",
    timeout: VALIDATE_MS_MAX,
    killSignal: "SIGKILL",
    maxBuffer: BYTES_MAX,
    reject: false,
    windowsHide: true,
  });
  if (run.exitCode !== 1) return undefined;
  return `${run.stdout}\n${run.stderr}`
    .replaceAll(draft, file)
    .replaceAll(path.basename(draft), path.basename(file))
    .replaceAll(/\s+/g, " ")
    .trim()
    .slice(0, WORDS_MAX);
}

const none = (reason: string): FoundSettings => ({ kind: "none", reason });
