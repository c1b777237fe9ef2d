/** SQLite's errors, told in the project's own: by result code, never by message. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { StoreBroken } from "./store.ts";

const BUSY = 5;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const NOTADB = 26;
const READONLY = 8;

/** The primary result code (the low byte of the extended one); undefined for an error that is not SQLite's. */
function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return undefined;
  return error.errcode & 0xff;
}

/** `ENOSPC`, `EACCES`: of a call to the file system that was not SQLite's. */
function systemCode(error: unknown): string | undefined {
  return error instanceof Error && "syscall" in error && "code" in error ? String(error.code) : undefined;
}

/** For a store at work. What is not told here is a bug of ours and stays as it is. */
export function translate(error: unknown): unknown {
  switch (resultCode(error)) {
    case FULL:
      return new ClusterError("storage_full", "The disk that holds the database is full; nothing of this change was kept.", {
        cause: error,
      });
    case IOERR:
    case CORRUPT:
    case NOTADB:
    case CANTOPEN:
    case READONLY:
      return new StoreBroken("The database's file or disk failed; what was written last is unknown.", { cause: error });
    default:
      return error;
  }
}

/** For a database that is being opened, with its files: nothing is at stake yet, and a person reads the text. */
export function translateAtOpen(error: unknown, path: string): unknown {
  switch (systemCode(error) ?? resultCode(error)) {
    case BUSY:
      return new ClusterError("already_running", `Another process has the database ${path} open.`, { cause: error });
    case FULL:
    case "ENOSPC":
      return new ClusterError("storage_full", `The disk that holds ${path} is full.`, { cause: error });
    case CORRUPT:
    case NOTADB:
      return damaged(path, "it is not a readable SQLite database", error);
    case CANTOPEN:
    case READONLY:
      return unusable(path, error);
    default:
      return systemCode(error) === undefined ? translate(error) : unusable(path, error);
  }
}

function unusable(path: string, cause: unknown): ClusterError {
  return new ClusterError("config_invalid", `The database ${path} cannot be opened for writing: check its folder and permissions.`, {
    cause,
  });
}

/** For a backup, or another copy: what fails is its target, not the store. */
export function translateInBackup(error: unknown, path: string, what = "backup"): ClusterError {
  const full = resultCode(error) === FULL || systemCode(error) === "ENOSPC";
  const code = full ? "storage_full" : "internal";
  return new ClusterError(code, `The ${what} to ${path} was not made; check that folder's space and permissions.`, { cause: error });
}

export function damaged(path: string, what: string, cause?: unknown): ClusterError {
  return new ClusterError(
    "store_unreadable",
    `The database ${path} is damaged: ${what}. It was left as it is. \`openclaw-cluster restore\` lists the backups and puts one in its place; to start empty, move it away.`,
    { cause },
  );
}
