/**
 * A store of many tasks (store-migrate.tasks.ts) is moved while a hundred more arrive each second; the process is killed at five points by chance, and
 * the move is made anew. In the end both sides are the same, and what they should be, row for row.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Keys } from "../../cluster/src/store/etcd-keys.ts";
import { surely } from "../../cluster/src/store/etcd-look.ts";
import { etcdSource } from "../../cluster/src/store/etcd-source.ts";
import { sqliteSource } from "../../cluster/src/store/sqlite-copy.ts";
import type { CopySource } from "../../cluster/src/store/store-copy.ts";
import { StoreDigest } from "../../cluster/src/store/store-digest.ts";
import { systemClock } from "../../cluster/src/system/clock.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { Chance } from "../simulation/world/chance.ts";
import { startTestEtcd, type TestEtcd } from "../support/etcd.ts";
import { expected } from "./store-migrate.tasks.ts";

let etcd: TestEtcd;
let folder: string;
beforeEach(async () => {
  etcd = await startTestEtcd();
  folder = mkdtempSync(join(tmpdir(), "ocx-move-"));
});
afterEach(async () => {
  await etcd.stop();
  rmSync(folder, { recursive: true });
});

const SEED = 5;
const PREFIX = "cluster/";

interface Life {
  readonly lines: readonly string[];
  readonly killed: boolean;
}

/** `kills` says at which line it dies, and how many ms later. */
async function live(to: "etcd" | "sqlite", kills?: (line: string) => number | undefined): Promise<Life> {
  const args = [join(import.meta.dirname, "store-migrate.child.ts"), folder, etcd.urls[0] as string, PREFIX, to];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const gone = once(child, "exit");
  const lines: string[] = [];
  let timer: NodeJS.Timeout | undefined;
  for await (const line of createInterface({ input: child.stdout! })) {
    lines.push(line);
    const afterMs = timer === undefined ? kills?.(line) : undefined;
    if (afterMs !== undefined) timer = setTimeout(() => child.kill("SIGKILL"), afterMs);
  }
  const [code, signal] = (await gone) as [number | null, string | null];
  clearTimeout(timer);
  if (signal !== "SIGKILL") expect(code).toBe(0);
  return { lines, killed: signal === "SIGKILL" };
}

const wordsOf = (lines: readonly string[], what: string): number[][] =>
  lines.filter((line) => line.startsWith(`${what} `)).map((line) => line.split(" ").slice(1).map(Number));

/** The last task there is: told when it was moved, or, where that had been decided before the process died, when it was opened. */
function lastOf(lines: readonly string[]): number {
  const [moved, opened] = ["moved", "open"].map((what) => wordsOf(lines, what)[0]);
  return moved?.[3] ?? opened?.[1] ?? 0;
}

async function digestOf(source: Pick<CopySource, "pieces">): Promise<StoreDigest> {
  const digest = new StoreDigest();
  for await (const rows of source.pieces()) digest.add(rows);
  return digest;
}

async function inEtcd(): Promise<StoreDigest> {
  const look = surely({ client: etcd.client, keys: new Keys(PREFIX), clock: systemClock, log: silentLog });
  const { revision } = await look.get(["any"]);
  return digestOf(etcdSource(look, revision));
}

async function inSqlite(file: string): Promise<StoreDigest> {
  const database = new DatabaseSync(join(folder, file), { readOnly: true });
  try {
    return await digestOf(sqliteSource(database));
  } finally {
    database.close();
  }
}

/** Kills it at each of these points, then lets it end. Gives the last life's lines, and the last task that anybody was told of. */
async function moveWithKills(
  to: "etcd" | "sqlite",
  points: readonly ((line: string) => number | undefined)[],
): Promise<{ readonly lines: readonly string[]; readonly deaths: readonly string[] }> {
  let kept = 0;
  const deaths: string[] = [];
  for (const point of [...points, undefined]) {
    const { lines, killed } = await live(to, point);
    const [opened = ""] = lines.filter((line) => line.startsWith("open "));
    if (opened !== "") expect(Number(opened.split(" ")[2])).toBeGreaterThanOrEqual(kept);
    kept = Math.max(kept, ...wordsOf(lines, "kept").map(([key = 0]) => key));
    if (killed) deaths.push(lines.findLast((line) => /^(open|at|decided)/.test(line)) ?? "not open yet");
    if (point !== undefined) continue;
    expect(killed).toBe(false);
    return { lines, deaths };
  }
  throw new Error("no life is the last one");
}

it(
  "killed at five points and repeated, loses nothing, and both sides are equal; and back",
  { timeout: 1_800_000 },
  async ({ annotate }) => {
    writeFileSync(join(folder, "settings"), "sqlite");
    const chance = new Chance(SEED);
    const copying = (): ((line: string) => number | undefined) => {
      const percent = chance.whole(2, 98);
      return (line) => (Number(/^at copying (\d+)/.exec(line)?.[1] ?? 0) >= percent ? chance.whole(0, 500) : undefined);
    };
    const at = (phase: string, ms: number) => (line: string) => (line.startsWith(`at ${phase}`) ? chance.whole(0, ms) : undefined);
    const points = [copying(), at("comparing", 3_000), copying(), at("following", 1_000), at("switching", 100)];
    const there = await moveWithKills("etcd", points);
    const { lines } = there;
    const last = lastOf(lines);
    const wanted = await digestOf({
      async *pieces() {
        yield* expected(last);
      },
    });
    expect(wanted.differenceTo(await inEtcd())).toBeUndefined();
    expect(wanted.differenceTo(await inSqlite("cluster.db"))).toBeUndefined();

    const back = await moveWithKills("sqlite", [copying()]);
    const lastBack = lastOf(back.lines);
    expect(lastBack).toBeGreaterThan(last);
    const wantedBack = await digestOf({
      async *pieces() {
        yield* expected(lastBack);
      },
    });
    expect(wantedBack.differenceTo(await inEtcd())).toBeUndefined();
    expect(wantedBack.differenceTo(await inSqlite("cluster.db"))).toBeUndefined();
    expect(readdirSync(folder).filter((name) => /^cluster\.db\.moved-[^.]+Z$/.test(name))).toHaveLength(1);
    for (const [way, { lines: its, deaths }] of [
      ["to etcd", there],
      ["back", back],
    ] as const) {
      const waits = wordsOf(its, "kept").map(([, ms = 0]) => ms);
      const [copyMs, finishMs, stopMs] = wordsOf(its, "moved")[0] ?? [];
      await annotate(
        `${way}: copied in ${copyMs} ms, stop ${stopMs} ms (${finishMs} of the move), longest commit ${Math.max(...waits)} ms; killed at: ${deaths.join(", ")}`,
      );
    }
  },
);
