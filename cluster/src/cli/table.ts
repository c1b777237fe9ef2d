/**
 * Tables and lists of facts for a screen. Widths are counted in columns of the terminal, so that Chinese and emoji line
 * up; on a screen a last column that may be cut ends at its edge, in a file or pipe nothing is cut.
 */
import { createRequire } from "node:module";
import { paint, plainLine, type Style, type Terminal } from "./terminal.ts";

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string | undefined;
  readonly style?: (row: Row) => Style | undefined;
  readonly right?: true;
  /** As the last one, it may be cut at the screen's edge. */
  readonly cut?: true;
}

const GAP = "  ";
const ELLIPSIS = "…";
/** A last column narrower than this says nothing; then the line may wrap. */
const CUT_COLUMNS_MIN = 8;

/** Header and one line for each row, with a line end after each. A column that is empty in every row is left out. */
export function table<Row>(terminal: Terminal, rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const filled = columns
    .map((column) => ({ column, cells: rows.map((row) => plainLine(column.value(row) ?? "")) }))
    .filter(({ cells }) => cells.some((cell) => cell !== ""));
  if (filled.length === 0) return "";
  const widths = filled.map(({ column, cells }) => Math.max(widthOf(column.title), ...cells.map((cell) => widthOf(cell))));
  if (filled.at(-1)?.column.cut) fitLast(widths, terminal.columns);
  const line = (cellOf: (index: number) => { text: string; style: Style | undefined }): string =>
    filled
      .map(({ column }, index) => {
        const { text, style } = cellOf(index);
        const cut = cutTo(text, widths[index] ?? 0);
        const padding = " ".repeat(Math.max(0, (widths[index] ?? 0) - widthOf(cut)));
        const painted = style === undefined ? cut : paint(terminal, style, cut);
        if (column.right) return padding + painted;
        return index === filled.length - 1 ? painted : painted + padding;
      })
      .join(GAP)
      .trimEnd();
  const lines = [line((index) => ({ text: filled[index]?.column.title ?? "", style: "bold" }))];
  for (const [at, row] of rows.entries()) {
    lines.push(line((index) => ({ text: filled[index]?.cells[at] ?? "", style: filled[index]?.column.style?.(row) })));
  }
  return `${lines.join("\n")}\n`;
}

/** `name   value` lines; facts without a value are left out. */
export function facts(terminal: Terminal, rows: readonly (readonly [name: string, value: string | undefined])[]): string {
  const told = rows.filter((row): row is readonly [string, string] => row[1] !== undefined && row[1] !== "");
  const width = Math.max(0, ...told.map(([name]) => widthOf(name)));
  return told.map(([name, value]) => `${paint(terminal, "dim", name + " ".repeat(width - widthOf(name)))}${GAP}${value}\n`).join("");
}

let measure: ((text: string) => number) | undefined;

/**
 * Columns on a screen. What counts the wide ones is loaded only when a text needs it: its regular expressions cost a
 * fifth of a small command's start.
 */
function widthOf(text: string): number {
  if (/^[ -~]*$/.test(text)) return text.length;
  measure ??= (createRequire(import.meta.url)("string-width") as { default(text: string): number }).default;
  return measure(text);
}

function fitLast(widths: number[], columns: number | undefined): void {
  if (columns === undefined) return;
  const before = widths.slice(0, -1).reduce((sum, width) => sum + width + GAP.length, 0);
  const room = columns - before;
  const last = widths.at(-1) ?? 0;
  if (room >= CUT_COLUMNS_MIN && last > room) widths[widths.length - 1] = room;
}

function cutTo(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let cut = "";
  let used = 0;
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    used += widthOf(segment);
    if (used > width - 1) break;
    cut += segment;
  }
  return cut + ELLIPSIS;
}
