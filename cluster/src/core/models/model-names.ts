/**
 * What a request's `model` names: groups of lent models, the preferred group first. Within a group the router is free.
 *
 * M1. A name is an alias of the owner's, else a model's id, else `id@node`, else one of `auto…`: the first that it can be.
 *     A model may be called `auto` only by the owner, as an alias.
 * M2. Ids are compared as they are written; where none is equal, without case; where none is, without `:latest`. The first
 *     that finds something decides for all nodes.
 * M3. The same digest is the same model: where an id was found, it is found under its other names too.
 * M4. An alias's entries are no aliases themselves: they lead nowhere round in circles.
 * M5. A name never says where to connect to: what looks like an address is refused.
 * M6. What costs money is found only by an alias's entry that names it: neither by its own name nor by `auto…`.
 */
import type { LentModel } from "@openclaw-cluster/contract/models";
import { autoGroups, AUTO_NAMES, isAutoName, type ModelGroup } from "./auto-groups.ts";
import { nearNames } from "./near-names.ts";

/** From the settings: fallbacks in their order, each an id, `id@node` or `auto…`. */
export type Aliases = Readonly<Record<string, readonly string[]>>;

export type Named =
  | { readonly kind: "found"; readonly groups: readonly ModelGroup[] }
  | {
      readonly kind: "refused";
      readonly reason: "not_a_name" | "unknown_model";
      readonly detail: string;
      readonly near: readonly string[];
    };

/** As in contract's NodeModelOffer, and as much for a node and what is between. */
const NAME_CHARS_MAX = 320;
/** Entries of an alias that are looked at. */
const FALLBACKS_MAX = 16;
const LATEST = ":latest";

export function resolveModel(name: unknown, models: readonly LentModel[], aliases: Aliases): Named {
  if (typeof name !== "string" || name.trim() === "" || name.length > NAME_CHARS_MAX) return noName(`model must be a name, such as auto`);
  if (isAddress(name)) return noName("model must be a name, not an address: models are those that nodes lend"); // M5
  const wanted = name.trim();
  const entries = aliasOf(wanted, aliases);
  const free = models.filter(({ paid }) => paid !== true);
  const among = entries === undefined ? free : models; // M6
  const groups = (entries ?? [wanted]).slice(0, FALLBACKS_MAX).flatMap((entry) => {
    if (isAddress(entry)) return [];
    const named = groupsOf(entry, among);
    return named.length > 0 ? named : autoGroups(entry, free);
  });
  if (groups.length > 0) return { kind: "found", groups };
  return { kind: "refused", reason: "unknown_model", ...unknownText(wanted, entries, models, aliases) };
}

/** M1, M2 for an entry that is no alias and no `auto…`. */
function groupsOf(name: string, models: readonly LentModel[]): readonly ModelGroup[] {
  const found = withSameDigest(byId(name, models), models);
  if (found.length > 0) return [{ name, models: found }];
  const at = name.lastIndexOf("@");
  if (at > 0) {
    const node = name.slice(at + 1).toLowerCase();
    const there = byId(
      name.slice(0, at),
      models.filter((model) => model.node === node),
    );
    if (there.length > 0) return [{ name, models: there }];
  }
  return [];
}

const SAMENESS: readonly ((id: string) => string)[] = [
  (id) => id,
  (id) => id.toLowerCase(),
  (id) => {
    const lower = id.toLowerCase();
    return lower.endsWith(LATEST) ? lower.slice(0, -LATEST.length) : lower;
  },
];

/** M2. */
function byId(id: string, models: readonly LentModel[]): readonly LentModel[] {
  for (const same of SAMENESS) {
    const wanted = same(id);
    const found = models.filter((model) => same(model.id) === wanted);
    if (found.length > 0) return found;
  }
  return [];
}

/** M3. */
function withSameDigest(found: readonly LentModel[], models: readonly LentModel[]): readonly LentModel[] {
  const digests = new Set(found.flatMap(({ digest }) => digest ?? []));
  if (digests.size === 0) return found;
  const named = new Set(found);
  return models.filter((model) => named.has(model) || (model.digest !== undefined && digests.has(model.digest)));
}

function aliasOf(name: string, aliases: Aliases): readonly string[] | undefined {
  if (Object.hasOwn(aliases, name)) return aliases[name];
  const lower = name.toLowerCase();
  const key = Object.keys(aliases).find((one) => one.toLowerCase() === lower);
  return key === undefined ? undefined : aliases[key];
}

/** M5: a scheme, or what Ollama and Hugging Face would fetch by a host's name is not told apart from an id, and is not found. */
const isAddress = (name: string): boolean => name.includes("://") || /^\s*(https?|wss?|file|data|javascript):/i.test(name);

const noName = (detail: string): Named => ({ kind: "refused", reason: "not_a_name", detail, near: [] });

function unknownText(
  name: string,
  entries: readonly string[] | undefined,
  models: readonly LentModel[],
  aliases: Aliases,
): { detail: string; near: string[] } {
  if (isAutoName(name) && entries === undefined) return { detail: `no node lends a model for ${name}`, near: [] };
  if (entries !== undefined) return { detail: `${name} stands for ${entries.join(", ")}, and no node lends any of them`, near: [] };
  // M6.
  if (groupsOf(name, models).length > 0)
    return { detail: `${name} costs money: it is asked only where an alias in models.aliases names it`, near: [] };
  const near = nearNames(name, [...models.map(({ id }) => id), ...Object.keys(aliases), ...AUTO_NAMES]);
  return { detail: `no node lends a model ${name}${near.length > 0 ? `; there is ${near.join(", ")}` : ""}`, near };
}
