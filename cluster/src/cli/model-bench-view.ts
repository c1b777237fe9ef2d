/** Figures of a benchmark of models, as a person reads them: a table that grows line by line while it is measured. */
import type { LentModel } from "@openclaw-cluster/contract/models";
import type { PlaceFigures } from "../core/models/bench-figures.ts";
import { table, type Column } from "./table.ts";
import type { Terminal } from "./terminal.ts";
import { duration } from "./time.ts";

export interface BenchRow {
  readonly model: LentModel;
  /** undefined: not measured yet. */
  readonly figures?: PlaceFigures;
  /** To its first word, where it had to be loaded. */
  readonly loadMs?: number;
}

const NONE = "-";
/** Below it a decimal place is a difference. */
const WHOLE_FROM = 100;

export interface BenchTable {
  readonly head: string;
  /** Of one place, under that head. */
  line(row: BenchRow): string;
}

/** Names are known beforehand, and no figure is wider than its title: so lines fit that are printed one by one. */
export function benchTable(terminal: Terminal, models: readonly LentModel[], streams: number): BenchTable {
  const lines = (rows: readonly BenchRow[]): string[] =>
    table(terminal, rows, columnsFor(models, streams))
      .split("\n")
      .map((line) => `${line}\n`);
  const blank = models.map((model): BenchRow => ({ model }));
  return {
    head: lines(blank)[0] ?? "",
    line: (row) => lines(blank.map((one) => (one.model === row.model ? row : one)))[models.indexOf(row.model) + 1] ?? "",
  };
}

function columnsFor(models: readonly LentModel[], streams: number): Column<BenchRow>[] {
  const isAnyCold = models.some(({ state }) => state !== "loaded");
  const figure = (title: string, of: (row: BenchRow) => string | undefined): Column<BenchRow> => ({
    title,
    value: (row) => of(row) ?? NONE,
    right: true,
  });
  return [
    { title: "MODEL", value: ({ model }) => model.id },
    { title: "NODE", value: ({ model }) => model.node },
    ...(isAnyCold ? [figure("LOADED IN", ({ loadMs }) => time(loadMs))] : []),
    figure("FIRST TOKEN", ({ figures }) => time(figures?.firstTokenMs)),
    figure("READS/S", ({ figures }) => amount(figures?.promptTokensPerS)),
    figure("WRITES/S", ({ figures }) => amount(figures?.tokensPerS)),
    ...(streams > 1 ? [figure("TOGETHER/S", ({ figures }) => amount(figures?.togetherPerS))] : []),
    {
      title: "FAILED",
      value: ({ figures }) => (figures === undefined ? NONE : `${figures.faults.length}/${figures.asked}`),
      style: ({ figures }) => ((figures?.faults.length ?? 0) > 0 ? "red" : undefined),
      right: true,
    },
  ];
}

const time = (ms: number | undefined): string | undefined => (ms === undefined ? undefined : duration(ms));
const amount = (perS: number | undefined): string | undefined => perS?.toFixed(perS < WHOLE_FROM ? 1 : 0);

/** Each reason once, with how often. */
export function faultLines(name: string, { faults }: PlaceFigures): string[] {
  const byText = Map.groupBy(faults, ({ code, detail }) => `${detail.replace(/\.$/, "")} (${code})`);
  return [...byText].map(([text, { length }]) => `${name}: ${text}${length > 1 ? `, ${length} times` : ""}`);
}
