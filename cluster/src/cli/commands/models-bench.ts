/** `models bench`: how quickly each place of a model answers, asked as any program asks it, through the cluster's own endpoint. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { LentModel } from "@openclaw-cluster/contract/models";
import type { Command } from "commander";
import { figuresOf } from "../../core/models/bench-figures.ts";
import { placeName } from "../../core/models/place.ts";
import { examples, type Act } from "../command.ts";
import { openProgress } from "../drill/progress.ts";
import { INTERRUPTED } from "../follow.ts";
import { readCount, readNodeId } from "../ids.ts";
import { measure, type BenchWish } from "../model-bench.ts";
import { benchTable, faultLines, type BenchRow } from "../model-bench-view.ts";
import { NOTHING_NEXT, placesOf } from "../model-places.ts";
import type { Session } from "../session.ts";
import { plainLine, remark } from "../terminal.ts";

interface Options {
  readonly node?: string;
  readonly cold?: true;
  readonly tokens: string;
  readonly promptTokens: string;
  readonly rounds: string;
  readonly streams: string;
}

/** An answer of ten minutes on a slow machine. */
const TOKENS_MAX = 4_096;
/** A home machine reads it in some minutes; larger contexts are mostly refused. */
const PROMPT_TOKENS_MAX = 131_072;
const ROUNDS_MAX = 100;
/** Half of what one line before a model takes (QUEUE_LENGTH_MAX in core/models/model-queue.ts), so that others are still answered. */
const STREAMS_MAX = 32;

/** For `models`, whose verb it is. */
export function configureBench(models: Command, act: Act): void {
  examples(
    models
      .command("bench")
      .summary("measure how quickly models answer, on each node that lends them")
      .argument("[names...]", "models, each wherever it is, or id@node for one place; all that chat and cost nothing, unless said")
      .option("--node <node>", "only what this node lends")
      .option("--cold", "also what is not loaded: loading it takes time, and memory of its node")
      .option("--tokens <n>", "how many tokens an answer may have", "64")
      .option("--prompt-tokens <n>", "about how many a question has", "512")
      .option("--rounds <n>", "how often each place is asked; the median counts", "3")
      .option("--streams <n>", "how many questions are asked together", "1"),
    "models bench",
    "models bench qwen3:8b llama3:8b@gaming --streams 4",
    "models bench --node studio --cold --json",
  )
    .addHelpText("after", "\nExit code 1 where a question was not answered. Ctrl-C ends it, and shows what is known by then.")
    .action(act(bench));
}

async function bench(session: Session, options: Options, names: string[]): Promise<number> {
  const { terminal } = session;
  const wish: BenchWish = {
    tokens: readCount(options.tokens, "--tokens", TOKENS_MAX),
    promptTokens: readCount(options.promptTokens, "--prompt-tokens", PROMPT_TOKENS_MAX),
    rounds: readCount(options.rounds, "--rounds", ROUNDS_MAX),
    streams: readCount(options.streams, "--streams", STREAMS_MAX),
  };
  const only = options.node === undefined ? undefined : readNodeId(options.node);
  const client = await session.client();
  const wanted = wantedOf((await client.models()).models, names, only);
  // A misspelt node would look like one that lends nothing.
  if (only !== undefined && wanted.length === 0) await client.node({ id: only });
  const chosen = wanted.filter(({ state }) => state === "loaded" || options.cold === true);
  const leftOut = wanted.filter((model) => !chosen.includes(model));

  const leave = new AbortController();
  const interrupt = terminal.onInterrupt(() => leave.abort());
  let rows: readonly BenchRow[];
  try {
    rows = await measureAll(session, chosen, wish, (request, asked) => client.chat(request, asked), leave.signal);
  } finally {
    interrupt.stop();
  }
  tell(session, { wish, rows, wanted, leftOut, interrupted: leave.signal.aborted });
  if (leave.signal.aborted) return INTERRUPTED;
  return rows.some(({ figures }) => figures !== undefined && figures.faults.length > 0) ? 1 : 0;
}

/** Each place once; two endpoints of one node that have a model of one name cannot be asked apart. */
function wantedOf(all: readonly LentModel[], names: readonly string[], only: NodeId | undefined): readonly LentModel[] {
  const named = names.length === 0 ? all.filter(({ paid }) => paid !== true) : names.flatMap((name) => placesOf(name, all));
  const there = named.filter(({ node }) => only === undefined || node === only);
  const chatting = there.filter(({ can }) => can.chat);
  if (names.length > 0 && there.length > 0 && chatting.length === 0)
    throw new ClusterError("usage", `${names.join(", ")} cannot chat, so there is nothing to measure`);
  return [...new Map(chatting.map((model) => [placeName(model), model])).values()];
}

/** Prints each line as soon as it is known, unless a document is wanted. */
async function measureAll(
  { terminal, json }: Session,
  models: readonly LentModel[],
  wish: BenchWish,
  ask: Parameters<typeof measure>[2]["ask"],
  signal: AbortSignal,
): Promise<readonly BenchRow[]> {
  const rows: BenchRow[] = [];
  const progress = openProgress(terminal);
  const { head, line } = benchTable(terminal, models, wish.streams);
  try {
    for (const [at, model] of models.entries()) {
      if (signal.aborted) break;
      const what = `measuring ${placeName(model)} (${at + 1} of ${models.length})`;
      progress.step(what);
      const onRound = (round: number): void =>
        progress.news(`${what}: ${round === 0 ? "it is being loaded" : `round ${round} of ${wish.rounds}`}`);
      const parts = { ask, now: () => performance.now(), random: Math.random, signal, onRound };
      const { rounds, loadMs } = await measure(model, wish, parts);
      if (rounds.length === 0 && loadMs === undefined) continue;
      const row = { model, figures: figuresOf(rounds, wish.promptTokens), ...(loadMs !== undefined && { loadMs }) };
      progress.end();
      if (!json) terminal.out(rows.length === 0 ? head + line(row) : line(row));
      rows.push(row);
    }
  } finally {
    progress.end();
  }
  return rows;
}

interface Told {
  readonly wish: BenchWish;
  readonly rows: readonly BenchRow[];
  readonly wanted: readonly LentModel[];
  readonly leftOut: readonly LentModel[];
  readonly interrupted: boolean;
}

function tell({ terminal, json }: Session, { wish, rows, wanted, leftOut, interrupted }: Told): void {
  if (json) {
    const ok = rows.every(({ figures }) => figures?.faults.length === 0);
    const places = rows.map(({ model: { id, node, server }, figures, loadMs }) => ({ model: id, node, server, loadMs, ...figures }));
    const cold = leftOut.map(({ id, node, state }) => ({ model: id, node, state }));
    terminal.out(`${JSON.stringify({ ok: ok && !interrupted, interrupted, ...wish, places, leftOut: cold }, null, 2)}\n`);
    return;
  }
  if (wanted.length === 0) terminal.out(`no model that chats is lent\n\n${NOTHING_NEXT}\n`);
  for (const { model, figures } of rows) {
    const lines = figures === undefined ? [] : faultLines(placeName(model), figures);
    for (const text of lines) remark(terminal, plainLine(text));
    if (lines.length > 0 && model.paid === true)
      remark(terminal, plainLine(`${placeName(model)} costs money: it is asked only where models.aliases of whoever leads names it`));
  }
  if (leftOut.length > 0)
    remark(
      terminal,
      plainLine(`left out, because it is not loaded: ${leftOut.map(placeName).join(", ")}; --cold loads it and measures it, too`),
    );
}
