/** `secret`: what this machine's owner lets commands know, by name. The values stay in this machine's folder, and are never shown. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Command } from "commander";
import { foldersOf } from "../../system/folders.ts";
import { readSecrets, removeSecret, setSecret } from "../../system/secret-file.ts";
import { examples, type Act } from "../command.ts";
import type { Session } from "../session.ts";

export function configure(command: Command, act: Act): void {
  examples(command, "secret", "secret set DEPLOY_KEY < key.txt", "secret remove DEPLOY_KEY");
  examples(command.command("list", { isDefault: true }).summary("list their names (also without a word)"), "secret list --json").action(
    act(list),
  );
  examples(
    command
      .command("set")
      .summary("keep a secret: asks for it, or reads stdin to its end")
      .argument("<name>", "as tasks and policy.yaml will call it"),
    "secret set DEPLOY_KEY",
    "secret set DEPLOY_KEY < key.txt",
  ).action(act(set));
  examples(
    command.command("remove").summary("forget a secret").argument("<name>", "as `secret list` shows it"),
    "secret remove DEPLOY_KEY",
  ).action(act(remove));
}

const fileOf = ({ home }: Session): string => foldersOf(home).secrets;

async function list(session: Session): Promise<void> {
  const names = [...readSecrets(fileOf(session)).keys()].toSorted();
  session.show({ secrets: names }, () =>
    names.length === 0 ? "this machine keeps no secrets\n" : names.map((name) => `${name}\n`).join(""),
  );
}

async function set(session: Session, _options: object, name: string): Promise<void> {
  const { terminal } = session;
  const said = (await terminal.askSecretly(`${name}: `)) ?? (await terminal.readInput());
  // The end of the line is the editor's, not the secret's.
  await setSecret(fileOf(session), name, said.replace(/\r?\n$/, ""));
  session.show({ set: name }, () => `${name} is kept. Commands get it where policy.yaml says so: allow.secrets, allow.env\n`);
}

async function remove(session: Session, _options: object, name: string): Promise<void> {
  if (!(await removeSecret(fileOf(session), name))) throw new ClusterError("not_found", `this machine keeps no secret ${name}`);
  session.show({ removed: name }, () => `${name} is forgotten\n`);
}
