/**
 * Figures of each node's models for a monitor: how quickly they answer, and how requests ended there. They grow from the start of
 * this process on, as Prometheus wants its counters.
 *
 * F1. No more than SERIES_MAX models of nodes are kept; those of which nothing was heard for longest go first.
 * F2. Two endpoints of a node that have the same model are one here: a monitor asks for machines and models.
 */
import type { ModelEnding } from "@openclaw-cluster/contract/model-requests";
import { placeView } from "./request-views.ts";
import type { Place } from "./place.ts";

/** F1: a hundred nodes with five models each that are really used; each takes about a kilobyte here, and 40 lines at the monitor. */
export const SERIES_MAX = 512;
/** From a cached prompt at a loaded model to a large one that is loaded from a slow disk. */
const FIRST_TOKEN_S = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];
/** From a model that hardly fits to a small one on a large GPU; 6 is where `auto` begins to call it quick. */
const TOKENS_PER_S = [1, 3, 6, 10, 20, 40, 80, 160, 320];

export class Histogram {
  readonly bounds: readonly number[];
  /** One more than bounds: of what lies beyond the last of them. */
  readonly counts: number[];
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  add(value: number): void {
    const at = this.bounds.findIndex((bound) => value <= bound);
    const bucket = at < 0 ? this.bounds.length : at;
    this.counts[bucket] = (this.counts[bucket] as number) + 1;
    this.sum += value;
  }
}

export interface ModelFigure {
  readonly node: string;
  readonly model: string;
  readonly firstTokenS: Histogram;
  readonly tokensPerS: Histogram;
  readonly endings: ReadonlyMap<ModelEnding, number>;
  readonly tokens: number;
}

interface Series extends ModelFigure {
  readonly endings: Map<ModelEnding, number>;
  tokens: number;
}

export class ModelFigures {
  private readonly series = new Map<string, Series>();

  firstToken(place: Place, ms: number): void {
    this.of(place).firstTokenS.add(ms / 1_000);
  }

  ended(place: Place, ending: ModelEnding): void {
    const { endings } = this.of(place);
    endings.set(ending, (endings.get(ending) ?? 0) + 1);
  }

  /** `perS`: where it is known how quickly. */
  wrote(place: Place, tokens: number, perS: number | undefined): void {
    const series = this.of(place);
    series.tokens += tokens;
    if (perS !== undefined) series.tokensPerS.add(perS);
  }

  all(): readonly ModelFigure[] {
    return [...this.series.values()];
  }

  private of(place: Place): Series {
    const { node, model } = placeView(place);
    const key = JSON.stringify([node, model]);
    const series = this.series.get(key) ?? {
      ...{ node, model, endings: new Map<ModelEnding, number>(), tokens: 0 },
      ...{ firstTokenS: new Histogram(FIRST_TOKEN_S), tokensPerS: new Histogram(TOKENS_PER_S) },
    };
    // F1: the last that was heard of is the last in the map.
    this.series.delete(key);
    this.series.set(key, series);
    if (this.series.size > SERIES_MAX) this.series.delete(this.series.keys().next().value as string);
    return series;
  }
}
