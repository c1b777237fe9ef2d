/**
 * A SQLite database as the place that a store is moved to. It has a draft's name until it is whole, and another one until it is in
 * use; only a start by whose settings the store is in SQLite takes it for the store.
 */
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import type { Log } from "../system/log.ts";
import { syncFolder } from "../system/synced-folder.ts";
import { openDatabase } from "./sqlite-open.ts";
import { Reads } from "./sqlite-reads.ts";
import { finishMove, movedHere } from "./sqlite-replace.ts";
import { ofTheFile, sqliteTarget, sqliteView } from "./sqlite-copy.ts";
import type { MoveTarget } from "./store-copy.ts";
import type { NodeRow, Rows, TokenRow } from "./store.ts";

const draftOf = (path: string): string => `${path}.copying`;

/** `path`: the store's place in the end. What an earlier move has left goes first: the store that is moved is elsewhere still. */
export async function openSqliteTarget(path: string, log: Log): Promise<MoveTarget> {
  const draft = draftOf(path);
  const open = async (): Promise<DatabaseSync> => {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    discardMovedHere(path);
    return openDatabase({ path: draft, log });
  };
  const database = await ofTheFile(draft, open, "copy");
  const copy = sqliteTarget(database, draft, "copy");
  const close = async (): Promise<void> => {
    if (database.isOpen) database.close();
  };
  return {
    write: (rows) => copy.write(rows),
    view: async () => sqliteView(database),
    readBack: async (rows) => readBack(database, rows),
    load: async () => new Reads(database).load(),
    prepare: () => ofTheFile(draft, async () => database.exec("PRAGMA wal_checkpoint(TRUNCATE)"), "copy"),
    async finish(identity) {
      await copy.finish(identity);
      const name = async (): Promise<void> => {
        // The last one to close copies the log into the file, syncs it, and removes the log.
        await close();
        renameSync(draft, movedHere(path));
        syncFolder(dirname(path));
      };
      await ofTheFile(draft, name, "copy");
    },
    async enter() {
      finishMove(path, log);
    },
    async discard() {
      await close();
      discardMovedHere(path);
    },
    close,
  };
}

/** By whose settings the store is elsewhere: a copy that lies here was never in use, and must never be. */
export function discardMovedHere(path: string): void {
  const its = [movedHere(path), draftOf(path), `${draftOf(path)}.new`].flatMap((file) => [file, `${file}-wal`, `${file}-shm`]);
  const there = its.filter((file) => existsSync(file));
  for (const file of there) rmSync(file);
  if (there.length > 0) syncFolder(dirname(path));
}

function readBack(database: DatabaseSync, { created = [], changed = [], attempts = [], keys = [], ...rest }: Rows): Rows {
  const reads = new Reads(database);
  const there = <T>(rows: readonly (T | undefined)[]): T[] => rows.filter((row) => row !== undefined);
  const tasks = [...created, ...changed].map(({ key }) => reads.task(key));
  const attemptOf = ({ task, attempt: { n } }: (typeof attempts)[number]) => {
    const attempt = reads.attempts(task).find((one) => one.n === n);
    return attempt && { task, attempt };
  };
  const { nodes = [], nodesRemoved = [], tokens = [], tokensRemoved = [], audit = [] } = rest;
  const ids = (rows: readonly { readonly id: string }[]): string[] => rows.map(({ id }) => id);
  return {
    changed: there(tasks),
    attempts: there(attempts.map(attemptOf)),
    keys: there(keys.map(({ owner, key }) => reads.submitKey(owner, key))),
    nodes: there([...ids(nodes), ...nodesRemoved].map((id) => rowOf<NodeRow>(database, "node", id))),
    tokens: there([...ids(tokens), ...tokensRemoved].map((id) => rowOf<TokenRow>(database, "token", id))),
    audit: audit.flatMap(({ seq }) => reads.audit({ after: seq - 1, limit: 1 })),
  };
}

function rowOf<T>(database: DatabaseSync, what: "node" | "token", id: string): T | undefined {
  const row = database.prepare(`SELECT ${what} AS json FROM ${what}s WHERE id = ?`).get(id) as { json: string } | undefined;
  return row && (JSON.parse(row.json) as T);
}
