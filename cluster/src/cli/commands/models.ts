/** `models`: the language models that nodes lend; list them, look at one wherever it is, ask why a request went where it went, measure them, ask one for each row of a file. */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { readNodeId } from "../ids.ts";
import { NOTHING_NEXT, placesOf } from "../model-places.ts";
import { modelFacts, modelTable } from "../model-view.ts";
import type { Session } from "../session.ts";
import { configureBench } from "./models-bench.ts";
import { configureBatch } from "./models-batch.ts";
import { configureConnection } from "./models-connect.ts";
import { configureWhy } from "./models-why.ts";

export function configure(command: Command, act: Act): void {
  examples(command, "models", "models --node studio", "models show qwen3:8b");
  examples(
    command
      .command("list", { isDefault: true })
      .summary("list the models (also without a word)")
      .option("--node <node>", "only what this node lends"),
    "models list --node studio --json",
  ).action(act(list));
  examples(
    command
      .command("show")
      .summary("show a model, wherever it is")
      .argument("<model>", "its id, as `models` lists it; id@node for one place; auto for what that stands for"),
    "models show qwen3:8b",
    "models show auto:tools",
  ).action(act(show));
  configureWhy(command, act);
  configureBench(command, act);
  configureBatch(command, act);
  configureConnection(command, act);
}

async function list(session: Session, { node }: { readonly node?: string }): Promise<void> {
  const only = node === undefined ? undefined : readNodeId(node);
  const client = await session.client();
  const { models: all } = await client.models();
  const models = only === undefined ? all : all.filter((model) => model.node === only);
  // A misspelt node would look like one that lends nothing.
  if (only !== undefined && models.length === 0) await client.node({ id: only });
  session.show({ models }, () => (models.length === 0 ? nothingText(only) : modelTable(session.terminal, models)));
}

async function show(session: Session, _options: object, name: string): Promise<void> {
  const client = await session.client();
  const models = placesOf(name, (await client.models()).models);
  session.show({ models }, () => models.map((model) => modelFacts(session.terminal, model)).join("\n"));
}

const nothingText = (node: NodeId | undefined): string =>
  `${node === undefined ? "no node lends any" : `${node} lends no`} model\n\n${NOTHING_NEXT}\n`;
