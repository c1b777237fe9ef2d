/** Where OpenClaw's settings file is, by OpenClaw's own rule. */
import path from "node:path";

export interface SettingsSearch {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly homedir: string;
}

export interface SettingsPlace {
  readonly stateFolder: string;
  readonly file: string;
}

export function settingsPlace({ env, homedir }: SettingsSearch): SettingsPlace {
  const stateFolder = expand(env["OPENCLAW_STATE_DIR"] || "~/.openclaw", env["OPENCLAW_HOME"] || homedir);
  const file = env["OPENCLAW_CONFIG_PATH"] ? expand(env["OPENCLAW_CONFIG_PATH"], homedir) : path.join(stateFolder, "openclaw.json");
  return { stateFolder, file };
}

function expand(file: string, home: string): string {
  return path.resolve(file.replace(/^~(?=$|[/\\])/, () => home));
}
