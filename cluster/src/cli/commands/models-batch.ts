/**
 * `models batch`: one prompt for each row of a file, as tasks of kind `model`.
 *
 * M1. The same command again makes nothing twice: each row's task has a key, of the batch's name and the row.
 * M2. Ctrl-C leaves the tasks alone, and says how to come back to them.
 */
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Json } from "@openclaw-cluster/contract/json";
import type { Task } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Command } from "commander";
import { filled, hasPlaces, readRows, type Row } from "../batch-rows.ts";
import { examples, type Act } from "../command.ts";
import { INTERRUPTED } from "../follow.ts";
import type { Session } from "../session.ts";
import { checkedSpec, readPriority } from "../spec.ts";
import { remark } from "../terminal.ts";
import { waitForAll } from "../wait.ts";
import { jsonOf } from "../../system/json-of.ts";

interface Options {
  readonly prompt: string;
  readonly input: string;
  readonly model?: string;
  readonly system?: string;
  readonly schema?: string;
  readonly maxTokens?: string;
  readonly priority: string;
  readonly batch?: string;
  readonly output?: string;
  readonly wait?: true;
}

/** The label under which a batch's tasks are filed. */
const LABEL = "batch";
/** Of the hash that a batch without a name has: enough for any number of them. */
const NAME_CHARS = 12;
/** A row's key is the name and its number; a label holds no more than twice that. */
const NAME_FORM = /^[A-Za-z0-9._-]{1,64}$/;
/** Often enough to see that it goes on. */
const PROGRESS_MS = 2_000;

export function configureBatch(command: Command, act: Act): void {
  examples(
    command
      .command("batch")
      .summary("ask a model once for each row of a file")
      .requiredOption("--prompt <text>", "what is asked; {{name}} stands for a row's field, {{line}} for a line of text")
      .requiredOption("--input <file>", "a JSON object in each line, or lines of text; - reads stdin")
      .option("--model <name>", "a model's id, as `models` lists it, or auto; auto unless said")
      .option("--system <text>", "how it shall answer; may have {{name}} as well")
      .option("--schema <file>", "a JSON schema that each answer holds to")
      .option("--max-tokens <n>", "the most that one answer takes")
      .option("--priority <priority>", "critical, high, normal, low, or 0 to 9", "low")
      .option("--batch <name>", "its name, to come back to it; made of what is asked unless said")
      .option("--output <file>", "write the answers there, a line for each row (waits)")
      .option("--wait", "wait until all are done; exit code 1 unless all succeeded"),
    'models batch --prompt "Translate into German: {{text}}" --input rows.jsonl --output answers.jsonl',
    'models batch --prompt "Of which language is this? {{line}}" --schema language.json --input lines.txt --wait',
  ).action(act(batch));
}

async function batch(session: Session, options: Options): Promise<number> {
  const specs = await specsOf(session, options);
  const name = options.batch ?? createHash("sha256").update(JSON.stringify(specs)).digest("hex").slice(0, NAME_CHARS);
  if (!NAME_FORM.test(name)) throw new ClusterError("usage", `--batch ${name}: a batch's name is letters, digits and ._-, at most 64`);
  const client = await session.client();
  const filed = specs.map((spec, at) => ({ ...spec, labels: { [LABEL]: name }, dedupeKey: `batch/${name}/${at + 1}` }));
  const submitted = await client.submitMany(filed);
  const known = submitted.filter(({ replayed }) => replayed === true).length;
  remark(session.terminal, `batch ${name}: ${specs.length} tasks${known === 0 ? "" : `, ${known} of them from before`}`);
  const ids = submitted.map(({ id }) => id);
  if (options.wait !== true && options.output === undefined) {
    session.show({ batch: name, tasks: submitted }, () => `${name}\n`);
    if (!session.json) remark(session.terminal, `the same command with --wait comes back to it; ${seeIt(session, name)}`);
    return 0;
  }
  const seen = progress(session, ids.length);
  const left = (): string => `left the batch running; the same command comes back to it; ${seeIt(session, name)}`;
  const tasks = await waitForAll(session, ids, { over: seen, left });
  if (tasks === undefined) return INTERRUPTED;
  const failed = tasks.filter(({ state }) => state !== "succeeded").length;
  const rows = await rowsOf(session, tasks);
  await tell(session, options, name, rows);
  if (failed > 0) remark(session.terminal, `${failed} failed; once more: ${session.typed(`retry --label ${LABEL}=${name} --dead`)}`);
  return failed === 0 ? 0 : 1;
}

const seeIt = (session: Session, name: string): string => `see it: ${session.typed(`ps --label ${LABEL}=${name}`)}`;

async function specsOf({ terminal }: Session, options: Options): Promise<TaskSpec[]> {
  const { prompt, system, model, schema, maxTokens, input: file } = options;
  const rows = readRows(file === "-" ? await terminal.readInput() : await read(file), file);
  if (rows.length > 1 && !hasPlaces(prompt) && !hasPlaces(system ?? ""))
    throw new ClusterError(
      "usage",
      "the prompt asks the same of every row: put {{line}}, or a field's name in such braces, where it stands",
    );
  const common = {
    ...(model !== undefined && { model }),
    ...(schema !== undefined && { schema: await readSchema(schema) }),
    ...(maxTokens !== undefined && { maxTokens: Number(maxTokens) }),
  };
  const priority = readPriority(options.priority);
  const inputOf = (row: Row): object => ({
    ...{ prompt: filled(prompt, row, file), ...common },
    ...(system !== undefined && { system: filled(system, row, file) }),
  });
  return rows.map((row) => checkedSpec({ kind: "model", input: inputOf(row), priority }));
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new ClusterError("usage", `cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
}

async function readSchema(file: string): Promise<unknown> {
  const schema = jsonOf(await read(file));
  if (schema === undefined) throw new ClusterError("usage", `${file} is not JSON`);
  return schema;
}

/** Says now and then how far it is. */
function progress({ terminal }: Session, count: number): (task: Task) => void {
  let [done, failed, toldAt] = [0, 0, performance.now()];
  return ({ state }) => {
    if (state === "succeeded") done++;
    else failed++;
    const left = count - done - failed;
    if (left > 0 && performance.now() - toldAt < PROGRESS_MS) return;
    toldAt = performance.now();
    remark(terminal, `done ${done}, failed ${failed}, left ${left}`);
  };
}

/** In the order of the rows. */
async function rowsOf(session: Session, tasks: readonly Task[]): Promise<Json[]> {
  const client = await session.client();
  const rows: Json[] = [];
  for (const [at, { id, state, result, resultBlob, error }] of tasks.entries()) {
    const whole = resultBlob === undefined ? result : await client.result({ id });
    const said = typeof whole === "object" && whole !== null && !Array.isArray(whole) ? whole : {};
    const why = error === undefined ? {} : { error: { code: error.code, message: error.message } };
    rows.push({ row: at + 1, task: id, state, ...said, ...why });
  }
  return rows;
}

async function tell(session: Session, { output }: Options, name: string, rows: readonly Json[]): Promise<void> {
  const text = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  if (output === undefined) return session.show({ batch: name, rows }, () => text);
  try {
    await writeFile(output, text);
  } catch (cause) {
    throw new ClusterError("usage", `cannot write ${output}: ${(cause as Error).message}; the same command writes the answers again`, {
      cause,
    });
  }
  session.show({ batch: name, output, rows: rows.length }, () => `${output}\n`);
}
