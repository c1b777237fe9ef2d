/**
 * Everything that only reads: the image for what is live or not folded yet, etcd for the rest. Used by the writer and by those
 * who follow it; they differ in how they look.
 *
 * R1. What the image holds is taken before etcd is asked: a fold that ends meanwhile takes nothing away from the answer.
 * R2. Where both know a task, the image is right.
 */
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import type { Attempt } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { isTerminal, type TaskRecord } from "../core/task.ts";
import { afterPrefix, type Entry } from "./etcd-client.ts";
import { fromJson, type DoneRow, type Outcome } from "./etcd-codec.ts";
import { Gathering } from "./etcd-gathering.ts";
import type { Image } from "./etcd-image.ts";
import { doneIn, next, submitHash } from "./etcd-keys.ts";
import { pages, type Look } from "./etcd-look.ts";
import { fits } from "./list-filter.ts";
import type { ListFilter, Page, SubmitKey } from "./store.ts";

/** Finished tasks that one page looks at in search of what fits. Then the page ends, short, and says where to go on. */
const ROWS_SCANNED_MAX = 2_000;
/** What one page brings of them; it has at least one task. */
const PAGE_BYTES_MAX = 4 * 1_024 * 1_024;
/** With their specs and outcomes: 8 MiB at the worst. */
const TASKS_PER_READ = 16;

interface PageOptions {
  readonly before?: number;
  readonly limit: number;
}

export class Reads {
  private readonly look: Look;
  private readonly singles: Gathering;
  private readonly image: () => Promise<Image>;

  constructor(look: Look, image: () => Promise<Image>) {
    this.look = look;
    this.singles = new Gathering(look);
    this.image = image;
  }

  async task(key: number): Promise<TaskRecord | undefined> {
    const image = await this.image();
    const known = image.tasks.get(key)?.task ?? image.live.get(key);
    if (known !== undefined) return known;
    const [read] = await this.whole([...(await this.doneRows([key])).values()]);
    // Run again by hand just now, it is not there any more and not here yet when it was looked for.
    return read?.task ?? (await this.image()).live.get(key);
  }

  /** Finished tasks as lists see them, as far as they are folded. */
  async doneRows(wanted: readonly number[]): Promise<Map<number, DoneRow>> {
    if (wanted.length === 0) return new Map();
    const { found } = await this.look.get(wanted.map(this.look.place.keys.done));
    return new Map(found.filter(isThere).map(({ key, value }) => [doneIn(key), fromJson<DoneRow>(value)]));
  }

  async list(filter: ListFilter, { before = Number.MAX_SAFE_INTEGER, limit }: PageOptions): Promise<Page> {
    if (filter.states?.length === 0) return { tasks: [] };
    const image = await this.image();
    // A list of live tasks asks no history.
    const onlyLive = filter.dead !== true && filter.states?.some(isTerminal) === false;
    const over = onlyLive ? [] : [...image.tasks.values()].map(({ task }) => task).filter(({ state }) => isTerminal(state));
    const known = [...image.liveTasks(), ...over].filter((task) => task.key < before && fits(task, filter)).sort((a, b) => b.key - a.key);
    if (onlyLive) return pageOf(known.slice(0, limit + 1), limit, undefined);
    const shadowed = new Set([...image.tasks.keys(), ...known.map(({ key }) => key)]);
    const history = await this.history(filter, before, limit, shadowed);
    const { end } = history;
    const fitting: (TaskRecord | DoneRow)[] = [...known.filter(({ key }) => end === undefined || key >= end), ...history.rows];
    fitting.sort((a, b) => keyOf(b) - keyOf(a));
    return this.fill(fitting.slice(0, limit + 1), limit, end);
  }

  async attempts(key: number): Promise<readonly Attempt[]> {
    const image = await this.image();
    const known = [...(image.attempts.get(key)?.values() ?? [])].map(({ attempt }) => attempt);
    const all = new Map(known.map((attempt) => [attempt.n, attempt]));
    const folder = this.look.place.keys.attempts(key);
    for await (const page of pages(this.look, { from: folder, to: afterPrefix(folder) }))
      for (const attempt of page.map(({ value }) => fromJson<Attempt>(value))) all.set(attempt.n, attempt);
    return [...all.values()].sort((a, b) => a.n - b.n);
  }

  async submitKey(owner: string, key: string): Promise<SubmitKey | undefined> {
    const image = await this.image();
    const hash = submitHash(owner, key);
    const known = image.submits.get(hash)?.key;
    if (known !== undefined) return known;
    const found = await this.singles.get(this.look.place.keys.submit(hash));
    return found && fromJson<SubmitKey>(found.value);
  }

  async audit({ after, limit }: { after: number; limit: number }): Promise<readonly AuditEntry[]> {
    const image = await this.image();
    const { keys } = this.look.place;
    const known = image.entries.map(({ entry }) => entry).filter(({ seq }) => seq > after);
    const first = known[0]?.seq ?? Infinity;
    if (first === after + 1 || limit <= 0) return known.slice(0, limit);
    const { entries } = await this.look.range({ from: keys.audit(after + 1), to: afterPrefix(keys.folder("audit")), limit });
    const folded = entries.map(({ value }) => fromJson<AuditEntry>(value)).filter(({ seq }) => seq < first);
    return [...folded, ...known].slice(0, limit);
  }

  /** What fits of the finished tasks below `before`, newest first. `end`: the last one that was looked at, where there may be more. */
  private async history(
    filter: ListFilter,
    before: number,
    limit: number,
    shadowed: ReadonlySet<number>,
  ): Promise<{ rows: DoneRow[]; end: number | undefined }> {
    const { keys } = this.look.place;
    const folder = filter.dead === true ? "dead" : "done";
    const at = filter.dead === true ? keys.dead : keys.done;
    const rows: DoneRow[] = [];
    let scanned = 0;
    for await (const page of pages(this.look, { from: next(at(before)), to: afterPrefix(keys.folder(folder)) })) {
      const read = filter.dead === true ? await this.doneRows(page.map(({ key }) => doneIn(key))) : undefined;
      for (const { key, value } of page) {
        scanned += 1;
        const row = read === undefined ? fromJson<DoneRow>(value) : read.get(doneIn(key));
        if (row !== undefined && !shadowed.has(row.task.key) && fits({ ...row.task, spec: row.about }, filter)) rows.push(row);
        if (scanned >= ROWS_SCANNED_MAX || rows.length > limit) return { rows, end: doneIn(key) };
      }
    }
    return { rows, end: undefined };
  }

  /** Brings what is missing of the tasks that stand on the page. */
  private async fill(fitting: readonly (TaskRecord | DoneRow)[], limit: number, end: number | undefined): Promise<Page> {
    const tasks: TaskRecord[] = [];
    let bytes = 0;
    for (let at = 0; at < fitting.length && tasks.length <= limit; at += TASKS_PER_READ) {
      const some = fitting.slice(at, at + TASKS_PER_READ);
      const read = await this.whole(some.filter(isRow));
      const byKey = new Map(read.map((one) => [one.task.key, one]));
      for (const one of some) {
        const whole = isRow(one) ? byKey.get(one.task.key) : { task: one, bytes: 0 };
        // Pruned just now.
        if (whole === undefined) continue;
        if (tasks.length > 0 && bytes > PAGE_BYTES_MAX) return { tasks, next: (tasks.at(-1) as TaskRecord).key };
        tasks.push(whole.task);
        bytes += whole.bytes;
      }
    }
    return pageOf(tasks, limit, fitting.length > limit ? keyOf(fitting.at(-1) as TaskRecord | DoneRow) : end);
  }

  /** With specs and outcomes; without those that were pruned meanwhile. */
  private async whole(rows: readonly DoneRow[]): Promise<{ task: TaskRecord; bytes: number }[]> {
    if (rows.length === 0) return [];
    const { keys } = this.look.place;
    const apart = rows.filter((row) => row.apart === true).map(({ task }) => keys.outcome(task.key));
    const { found } = await this.look.get([...rows.map(({ task }) => keys.spec(task.key)), ...apart]);
    const values = new Map(found.filter(isThere).map(({ key, value }) => [key, value]));
    return rows.flatMap(({ task, apart: isApart }) => {
      const spec = values.get(keys.spec(task.key));
      const outcome = values.get(keys.outcome(task.key));
      if (spec === undefined || (isApart === true && outcome === undefined)) return [];
      const record = { ...task, spec: fromJson<TaskSpec>(spec), ...(outcome !== undefined && fromJson<Outcome>(outcome)) };
      return [{ task: record, bytes: spec.length + (outcome?.length ?? 0) }];
    });
  }
}

function pageOf(tasks: readonly TaskRecord[], limit: number, end: number | undefined): Page {
  const shown = tasks.slice(0, limit);
  const last = shown.at(-1);
  if (tasks.length > limit && last !== undefined) return { tasks: shown, next: last.key };
  return end === undefined ? { tasks: shown } : { tasks: shown, next: end };
}

const isRow = (one: TaskRecord | DoneRow): one is DoneRow => "about" in one;
const keyOf = (one: TaskRecord | DoneRow): number => (isRow(one) ? one.task.key : one.key);
const isThere = (entry: Entry | undefined): entry is Entry => entry !== undefined;
