/**
 * What `auto` means: the largest model that answers quickly enough. Left to the predicted time alone the smallest model
 * would win every request; left to size alone, a giant on a slow machine would. So models are grouped by size, and the
 * chooser passes over a group in which nothing would be quick.
 *
 * A1. Every model that can do what the name says is in exactly one group, the largest sizes first.
 * A2. For embeddings there is one group for each model: vectors of two models are not comparable.
 */
import type { LentModel } from "@openclaw-cluster/contract/models";

export interface ModelGroup {
  /** What found it, for an explanation. */
  readonly name: string;
  /** Never empty. */
  readonly models: readonly LentModel[];
  /** One of `auto…`: to be passed over for the next group while it would answer slowly (choose.ts). */
  readonly onlyIfQuick?: boolean;
}

export const AUTO_NAMES: readonly string[] = ["auto", "auto:tools", "auto:embed"];
/** Sizes within a factor of two are one group: a model in Q4 and in Q8, or 7 and 8 billion weights. */
const SIZE_FACTOR = 2;
/** Where a server does not tell: an 8B model in 4 bits, the commonest at home. */
export const SIZE_BYTES_DEFAULT = 5e9;

export const isAutoName = (name: string): boolean => AUTO_NAMES.includes(name.toLowerCase());

export function autoGroups(name: string, models: readonly LentModel[]): readonly ModelGroup[] {
  switch (name.toLowerCase()) {
    case "auto":
      return bySize(
        name,
        models.filter(({ can }) => can.chat),
      );
    case "auto:tools":
      return bySize(
        name,
        models.filter(({ can }) => can.chat && can.tools),
      );
    case "auto:embed":
      return byModel(
        name,
        models.filter(({ can }) => can.embeddings),
      );
    default:
      return [];
  }
}

const sizeOf = ({ sizeBytes }: LentModel): number => sizeBytes ?? SIZE_BYTES_DEFAULT;

/** A1. Each group reaches from its largest down to half of that. */
function bySize(name: string, models: readonly LentModel[]): readonly ModelGroup[] {
  const groups: LentModel[][] = [];
  let largest = 0;
  for (const model of models.toSorted((a, b) => sizeOf(b) - sizeOf(a))) {
    const group = groups.at(-1);
    if (group !== undefined && sizeOf(model) * SIZE_FACTOR > largest) {
      group.push(model);
    } else {
      groups.push([model]);
      largest = sizeOf(model);
    }
  }
  return groups.map((group) => ({ name, models: group, onlyIfQuick: true }));
}

/** A2: the model that most nodes have comes first, so that the same vectors go on when one of them leaves. */
function byModel(name: string, models: readonly LentModel[]): readonly ModelGroup[] {
  const groups = new Map<string, LentModel[]>();
  for (const model of models) {
    const key = model.digest ?? model.id.toLowerCase();
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [model]);
    else group.push(model);
  }
  return [...groups]
    .toSorted(([a, first], [b, second]) => second.length - first.length || (a < b ? -1 : 1))
    .map(([, group]) => ({ name, models: group }));
}
