/** The models that are lent, as OpenAI's API lists them. */
import type { LentModel } from "@openclaw-cluster/contract/models";
import { RouteRefusal, type ModelRouter } from "../models/models.ts";

interface Listed {
  readonly id: string;
  readonly object: "model";
  readonly created: 0;
  readonly owned_by: string;
  /** The most tokens that one request can have, prompt and answer together; absent where no server has told. */
  readonly context_length?: number;
}

/** Each name once, whichever nodes have it. */
export async function listOf(router: ModelRouter): Promise<Listed[]> {
  const all = await router.list();
  const byId = Map.groupBy(all, ({ id }) => id);
  const listed = [...byId].map(([id, places]) => entry(id, [...new Set(places.map(({ node }) => node))].join(","), places));
  const auto = all.filter(({ can, paid }) => can.chat && paid !== true);
  return listed.length === 0 ? [] : [entry("auto", "cluster", auto), ...listed];
}

function entry(id: string, owner: string, places: readonly LentModel[]): Listed {
  const tokens = Math.max(0, ...places.map(({ contextTokens = 0 }) => contextTokens));
  return { id, object: "model", created: 0, owned_by: owner, ...(tokens > 0 && { context_length: tokens }) };
}

/** `name`: as it stands in an address. Throws RouteRefusal. */
export async function oneOf(router: ModelRouter, name: string): Promise<Listed> {
  const id = plain(name);
  const found = (await listOf(router)).find((one) => one.id === id);
  if (found === undefined) throw new RouteRefusal(404, "model_not_found", `There is no model ${id}.`);
  return found;
}

function plain(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
