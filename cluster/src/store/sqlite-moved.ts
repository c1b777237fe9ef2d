/**
 * A database whose store was moved elsewhere. It is kept as it was, and says so: this program and older ones refuse to open it as
 * a store, because its header names another application.
 */
import type { DatabaseSync } from "node:sqlite";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { inTransaction } from "./sqlite-transaction.ts";
import type { MoveNote } from "./store-copy.ts";

/** "ocxm". */
const MOVED_ID = 0x6f63786d;

export function retireDatabase(database: DatabaseSync, note: MoveNote): void {
  if (moveNoteIn(database) !== undefined) return;
  inTransaction(database, () => {
    database.exec("CREATE TABLE moved (note TEXT NOT NULL) STRICT");
    database.prepare("INSERT INTO moved (note) VALUES (?)").run(JSON.stringify(note));
    database.exec(`PRAGMA application_id = ${MOVED_ID}`);
  });
}

export function moveNoteIn(database: DatabaseSync): MoveNote | undefined {
  const { application_id: id } = database.prepare("PRAGMA application_id").get() as { application_id: number };
  if (id !== MOVED_ID) return undefined;
  const { note } = database.prepare("SELECT note FROM moved").get() as { note: string };
  return JSON.parse(note) as MoveNote;
}

export function movedAway(path: string, { to, at }: MoveNote): ClusterError {
  const back = "openclaw-cluster store migrate --to sqlite";
  return new ClusterError(
    "config_invalid",
    `store.kind: the store in ${path} was moved to ${to} on ${new Date(at).toISOString()}, and what came since is there. ` +
      `Go on there: openclaw-cluster config set store.kind ${to}. To have it in SQLite again, start there and run \`${back}\`.`,
  );
}
