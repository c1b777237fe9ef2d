/** What a person sees while the demonstration runs: a live table on a terminal, plain lines elsewhere. All on stderr. */
import { styleText } from "node:util";
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { TaskEvent } from "@openclaw-cluster/contract/events";
import { TERMINAL } from "@openclaw-cluster/contract/task";

export interface Screen {
  say(text: string): void;
  /** Shows tasks as they change, until `stop`. */
  follow(client: Client): void;
  stop(): void;
}

interface Row {
  id: string;
  what: string;
  state: string;
  node: string;
  since: number;
  tookMs: number | undefined;
}

const REDRAW_MS = 150;
const ROWS_MAX = 18;
const COLOURS = { succeeded: "green", failed: "red", cancelled: "yellow", running: "cyan", leased: "cyan" } as const;

export function openScreen(): Screen {
  const live = process.stderr.isTTY && process.env["NO_COLOR"] === undefined;
  const rows = new Map<string, Row>();
  const closing = new AbortController();
  let drawn = 0;
  let timer: NodeJS.Timeout | undefined;

  const erase = (): void => {
    if (drawn > 0) process.stderr.write(`\x1b[${drawn}A\x1b[J`);
    drawn = 0;
  };
  const draw = (): void => {
    erase();
    const lines = [...rows.values()].slice(-ROWS_MAX).map(lineOf);
    if (lines.length === 0) return;
    process.stderr.write(`${lines.join("\n")}\n`);
    drawn = lines.length;
  };
  const say = (text: string): void => {
    erase();
    process.stderr.write(`${text}\n`);
    if (live) draw();
  };
  const hear = async (client: Client): Promise<void> => {
    for await (const event of client.events({ types: ["task"], signal: closing.signal })) {
      if (event.type !== "task") continue;
      const row = rows.get(event.task) ?? { id: event.task, what: "", state: "", node: "", since: event.at, tookMs: undefined };
      rows.set(event.task, row);
      const changed = row.state !== event.state;
      update(row, event);
      if (row.what === "") row.what = await nameOf(client, event);
      if (!live && changed) process.stderr.write(`${lineOf(row)}\n`);
    }
  };
  return {
    say,
    follow(client) {
      hear(client).catch((error: unknown) => {
        if (!closing.signal.aborted) say(`The event stream ended: ${String(error)}`);
      });
      if (live) timer = setInterval(draw, REDRAW_MS);
    },
    stop() {
      closing.abort();
      clearInterval(timer);
      if (live) draw();
      drawn = 0;
    },
  };
}

function update(row: Row, event: TaskEvent): void {
  row.state = event.state;
  row.node = event.node ?? "";
  if (TERMINAL.has(event.state)) row.tookMs = event.at - row.since;
}

async function nameOf(client: Client, event: TaskEvent): Promise<string> {
  const task = await client.getTask({ id: event.task });
  return `${task.kind}  ${task.name ?? ""}`;
}

function lineOf(row: Row): string {
  const colour = COLOURS[row.state as keyof typeof COLOURS] ?? "gray";
  const state = styleText(colour, row.state.padEnd(10), { stream: process.stderr });
  const took = row.tookMs === undefined ? "" : `${(row.tookMs / 1_000).toFixed(1)} s`;
  return `  ${row.id.padEnd(5)} ${state} ${row.node.padEnd(8)} ${row.what.padEnd(34)} ${took}`;
}
