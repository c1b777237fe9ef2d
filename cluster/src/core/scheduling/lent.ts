/** The filter's check of models that a node lends, for tasks of kind `model`. */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { LentHere } from "@openclaw-cluster/contract/node";
import { asLent } from "../models/lent-here.ts";
import { misfit } from "../models/model-needs.ts";
import { resolveModel } from "../models/model-names.ts";
import { nearNames } from "../models/near-names.ts";
import { isAutoName } from "../models/auto-groups.ts";
import type { ModelWish } from "../models/task-model.ts";

export interface Lack {
  readonly detail: string;
  readonly remedy: string;
}

/** undefined: one of them will do. */
export function lentLack(lends: readonly LentHere[], node: NodeId, { name, needs }: ModelWish): Lack | undefined {
  const named = resolveModel(
    name,
    lends.map((model) => asLent(model, node)),
    {},
  );
  if (named.kind === "refused") return unknown(lends, node, name);
  let lack: Lack | undefined;
  for (const model of named.groups.flatMap(({ models }) => models)) {
    const wrong = misfit(model, needs);
    if (wrong === undefined) return undefined;
    lack ??= { detail: `lends ${model.id}, which ${wrong.detail}`, remedy: `name another model, or lend one on ${node} that can` };
  }
  return lack;
}

function unknown(lends: readonly LentHere[], node: NodeId, name: string): Lack {
  const remedy = `start it in a model server on ${node}, or name one of: openclaw-cluster models; a task takes names, not aliases`;
  if (isAutoName(name)) return { detail: `lends no model for ${name}`, remedy };
  const near = nearNames(
    name,
    lends.map(({ id }) => id),
  );
  return { detail: `lends no model ${name}${near.length === 0 ? "" : `, but ${near.join(", ")}`}`, remedy };
}
