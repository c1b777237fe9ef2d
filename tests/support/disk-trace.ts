/**
 * What of a process's files is not on the disk yet, told from its system calls: which bytes nothing has synced since they
 * were written, and which names nothing has synced since they were made. For tests that cut the power (power-cut.ts).
 *
 * T1. A write counts from its call on. A sync counts when it has returned, for what had been written when it was called.
 * T2. A name that was made, linked or renamed lasts from the next sync of its folder on, and names of a folder last in the
 *     order in which they came.
 * T3. Where a write went is known for those that say it; any other makes all of its file unsure. So does SQLite's index of
 *     a log (-shm), which is written through memory, and never synced.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import type { Manner } from "../../scripts/daemon.ts";

const CALLS = [
  ...["openat", "write", "writev", "pwrite64", "pwritev", "pwritev2", "ftruncate", "fallocate", "fsync", "fdatasync"],
  ...["rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"],
];

/** A disk that takes its time: there is mostly something that is not synced yet. */
const SYNC_MICROSECONDS = 25_000;

/** The traced process is the daemon itself (-D); its threads are traced with it, and so is nats-server. */
export function tracedInto(file: string): Manner {
  const slowly = `inject=fsync,fdatasync:delay_enter=${SYNC_MICROSECONDS}`;
  const calls = `trace=${CALLS.join()}`;
  return { under: ["strace", "-D", "-q", "-f", "--seccomp-bpf", "-y", "-s", "0", "-o", file, "-e", calls, "-e", slowly] };
}

export interface Range {
  readonly from: number;
  readonly to: number;
}

export interface TracedFile {
  /** Unsynced, in the order in which they were written; they overlap. */
  writes: Range[];
  /** How long it was at its last sync, or when the trace began. */
  syncedBytes: number;
  bytes: number;
}

export type NameChange =
  | { readonly kind: "made"; readonly folder: string; readonly path: string }
  | { readonly kind: "renamed"; readonly folder: string; readonly from: string; readonly path: string }
  /** The file is there still, under another name. */
  | { readonly kind: "unlinked"; readonly folder: string; readonly path: string; readonly other: string }
  /** What was there is gone, and so cannot be had back. */
  | { readonly kind: "replaced"; readonly folder: string };

export interface DiskTrace {
  /** By their present path. */
  readonly files: ReadonlyMap<string, TracedFile>;
  /** Those that do not last yet, oldest first. */
  readonly names: readonly NameChange[];
}

/** Every file below the folder with its size; taken before the process starts. */
export function filesBelow(folder: string): Map<string, number> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(names.map((entry) => path.join(entry.parentPath, entry.name)).map((file) => [file, statSync(file).size]));
}

/** `counts`: whether a path is one of those that are asked about. */
export function readTrace(traceFile: string, before: ReadonlyMap<string, number>, counts: (path: string) => boolean): DiskTrace {
  const reader = new TraceReader(before, counts);
  for (const line of readFileSync(traceFile, "utf8").split("\n")) reader.read(line);
  return reader;
}

/** Has the process of this id ended, and is nothing more to come of it? */
export function hasEnded(traceFile: string, pid: number): boolean {
  return new RegExp(`^${pid} +\\+\\+\\+ (killed|exited)`, "m").test(readFileSync(traceFile, "utf8"));
}

export function hasWritten(traceFile: string, name: string): boolean {
  return new RegExp(`^\\d+ +pwrite64\\(\\d+<[^>]*/${name}>`, "m").test(readFileSync(traceFile, "utf8"));
}

interface Call {
  readonly name: string;
  readonly args: string;
  /** Of a sync: what it covers, should it return. */
  readonly covers?: () => void;
}

const LINE = /^(\d+) +(.*)$/;
const BEGUN = /^(\w+)\((.*) <unfinished \.\.\.>$/;
const RESUMED = /^<\.\.\. \w+ resumed>(.*)\) += (-?\d+|\?)/;
const WHOLE = /^(\w+)\((.*)\) += (-?\d+|\?)/;
const HANDLE = /^\d+<(\/[^>]*)>/;
const QUOTED = /(?:AT_FDCWD<([^>]*)>, )?"([^"]*)"/g;

class TraceReader implements DiskTrace {
  readonly files = new Map<string, TracedFile>();
  names: NameChange[] = [];
  private readonly present: Set<string>;
  private readonly before: ReadonlyMap<string, number>;
  private readonly counts: (path: string) => boolean;
  private readonly begun = new Map<string, Call>();

  constructor(before: ReadonlyMap<string, number>, counts: (path: string) => boolean) {
    this.before = before;
    this.present = new Set(before.keys());
    this.counts = counts;
  }

  read(line: string): void {
    const [, thread = "", rest = ""] = LINE.exec(line) ?? [];
    const begun = BEGUN.exec(rest);
    if (begun !== null) return void this.begun.set(thread, this.begin(begun[1] as string, begun[2] as string));
    const resumed = RESUMED.exec(rest);
    const early = this.begun.get(thread);
    if (resumed !== null && early !== undefined) {
      this.begun.delete(thread);
      return this.end({ ...early, args: early.args + (resumed[1] as string) }, Number(resumed[2]));
    }
    const whole = WHOLE.exec(rest);
    if (whole !== null) this.end(this.begin(whole[1] as string, whole[2] as string), Number(whole[3]));
  }

  private begin(name: string, args: string): Call {
    const file = HANDLE.exec(args)?.[1];
    if (file === undefined) return { name, args };
    if (name === "fsync" || name === "fdatasync") return { name, args, covers: this.coveredBy(file) };
    if (this.counts(file)) this.write(name, args, this.file(file));
    return { name, args };
  }

  private end({ name, args, covers }: Call, result: number): void {
    if (!(result >= 0)) return;
    covers?.();
    const paths = Array.from(args.matchAll(QUOTED), ([, folder = "/", file = ""]) => path.resolve(folder, file));
    const [first, second] = paths;
    if (name === "openat" && first !== undefined && args.includes("O_CREAT")) this.made(first);
    if (name === "openat" && first?.endsWith("-shm") && this.counts(first)) this.file(first).writes.push({ from: 0, to: Infinity });
    if (name.startsWith("rename") && first !== undefined && second !== undefined) this.renamed(first, second);
    if (name.startsWith("link") && first !== undefined && second !== undefined) this.linked(first, second);
    if (name.startsWith("unlink") && first !== undefined) this.removed(first);
  }

  private write(name: string, args: string, file: TracedFile): void {
    const numbers = args
      .split(", ")
      .slice(-2)
      .map((text) => Number(text));
    const [bytes = NaN, from = NaN] = numbers;
    if (name === "ftruncate") {
      const to = numbers.at(-1) as number;
      // Whatever was beyond the new end may be there again; as long as it grows it is zeros, or nothing.
      file.writes.push({ from: Math.min(file.bytes, to), to: Math.max(file.bytes, to) });
      file.bytes = to;
    } else if (name === "pwrite64" && bytes >= 0 && from >= 0) {
      file.writes.push({ from, to: from + bytes });
      file.bytes = Math.max(file.bytes, from + bytes);
    } else if (/write|fallocate/.test(name)) {
      // T3
      file.writes.push({ from: 0, to: Infinity });
    }
  }

  private coveredBy(file: string): () => void {
    const traced = this.files.get(file);
    const covered = new Set<unknown>(traced?.writes ?? this.names.filter(({ folder }) => folder === file));
    const bytes = traced?.bytes ?? 0;
    return () => {
      this.names = this.names.filter((change) => !covered.has(change));
      if (traced === undefined) return;
      traced.writes = traced.writes.filter((range) => !covered.has(range));
      traced.syncedBytes = bytes;
    };
  }

  private file(file: string): TracedFile {
    const bytes = this.before.get(file) ?? 0;
    const known = this.files.get(file) ?? { writes: [], syncedBytes: bytes, bytes };
    this.files.set(file, known);
    return known;
  }

  private made(file: string): void {
    if (!this.counts(file) || this.present.has(file)) return;
    this.present.add(file);
    this.files.set(file, { writes: [], syncedBytes: 0, bytes: 0 });
    this.names.push({ kind: "made", folder: path.dirname(file), path: file });
  }

  private linked(from: string, to: string): void {
    if (!this.counts(to)) return;
    this.present.add(to);
    this.files.set(to, this.file(from));
    this.names.push({ kind: "made", folder: path.dirname(to), path: to });
  }

  private renamed(from: string, to: string): void {
    if (!this.counts(to)) return;
    const folder = path.dirname(to);
    this.names.push(this.present.has(to) ? { kind: "replaced", folder } : { kind: "renamed", folder, from, path: to });
    this.files.set(to, this.file(from));
    this.files.delete(from);
    this.present.delete(from);
    this.present.add(to);
  }

  private removed(file: string): void {
    if (!this.present.delete(file)) return;
    const folder = path.dirname(file);
    const traced = this.files.get(file);
    this.files.delete(file);
    const [other] = [...this.files].find(([, one]) => one === traced) ?? [];
    this.names.push(other === undefined ? { kind: "replaced", folder } : { kind: "unlinked", folder, path: file, other });
  }
}
