/** `config`: this machine's settings; they count from the daemon's next start. */
import type { Command } from "commander";
import { configJsonSchema, type ConfigPatch } from "../../system/config-schema.ts";
import { loadConfig, patchFromText, patchWithout, saveConfig, settingNamed } from "../../system/config.ts";
import { foldersOf } from "../../system/folders.ts";
import { examples, type Act } from "../command.ts";
import type { Session } from "../session.ts";

export function configure(command: Command, act: Act): void {
  examples(command, "config get", "config set api.port 9000", "config schema");
  examples(
    command.command("get").summary("print all settings, a section, or one").argument("[field]", "as api.port or api"),
    "config get",
    "config get api.port",
  ).action(act(get));
  examples(
    command
      .command("set")
      .summary("write a setting into cluster.yaml")
      .argument("<field>", "as api.port")
      .argument("<value>", "as 9000, worker, gpu=yes,room=office"),
    "config set slots 4",
    "config set labels gpu=yes,room=office",
  ).action(act((session, _options: object, field: string, value: string) => save(session, patchFromText([[field, value]]))));
  examples(
    command.command("unset").summary("take a setting back out of cluster.yaml").argument("<field>", "as api.port"),
    "config unset api.port",
  ).action(act((session, _options: object, field: string) => save(session, patchWithout(field))));
  examples(command.command("schema").summary("print the JSON Schema of cluster.yaml"), "config schema").action(act(schema));
}

async function get(session: Session, _options: object, field: string | undefined): Promise<number> {
  const config = await loadConfig({ home: session.home, env: session.terminal.env });
  if (field === undefined) {
    const { stringify } = await import("yaml");
    session.show(config, () => stringify(config));
    return 0;
  }
  const value = settingNamed(config, field);
  session.show(value ?? null, () => (value === undefined ? "" : `${typeof value === "string" ? value : JSON.stringify(value)}\n`));
  return value === undefined ? 1 : 0;
}

async function save(session: Session, patch: ConfigPatch): Promise<void> {
  const changed = await saveConfig(session.home, patch);
  const { config: file } = foldersOf(session.home);
  session.show({ file, changed }, () =>
    changed ? `written to ${file}; the daemon takes it at its next start\n` : `${file} says so already\n`,
  );
}

function schema(session: Session): Promise<void> {
  session.terminal.out(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
  return Promise.resolve();
}
