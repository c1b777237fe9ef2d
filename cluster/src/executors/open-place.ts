/**
 * Opens a file or folder by its path, one part after the other, and follows no link. A path means what lies there when it
 * is used: whoever may write on its way can put another folder there, or a link, between one use and the next. A
 * descriptor means the same place for good.
 *
 * O1. No part of the path was a link when it was passed; whoever wants a place behind a link names that place.
 * O2. It is opened as a place only (O_PATH): nothing of it is read, and no device is woken.
 *
 * Linux only.
 */
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import path from "node:path";

export type Opened =
  | { readonly kind: "open"; readonly descriptor: number; readonly isFolder: boolean }
  /** Not there, or not to be reached by this user. */
  | { readonly kind: "absent" }
  /** `at`: the part of the path that is one. */
  | { readonly kind: "link"; readonly at: string };

/** Node has no name for it; the same number on all processors that Node knows. */
const O_PATH = 0o10000000;
const AS_A_PLACE = O_PATH | constants.O_NOFOLLOW;
const ABSENT: ReadonlySet<string | undefined> = new Set(["ENOENT", "ENOTDIR", "EACCES", "ENAMETOOLONG"]);

/** `place` is absolute. The descriptor is the caller's to close. */
export function openPlace(place: string): Opened {
  let at = "/";
  let descriptor = openSync(at, AS_A_PLACE);
  try {
    for (const part of path.resolve(place).split("/").filter(Boolean)) {
      const next = openSync(`/proc/self/fd/${descriptor}/${part}`, AS_A_PLACE);
      closeSync(descriptor);
      descriptor = next;
      at = path.join(at, part);
      if (fstatSync(descriptor).isSymbolicLink()) {
        closeSync(descriptor);
        return { kind: "link", at };
      }
    }
    return { kind: "open", descriptor, isFolder: fstatSync(descriptor).isDirectory() };
  } catch (error) {
    closeSync(descriptor);
    if (ABSENT.has((error as NodeJS.ErrnoException).code)) return { kind: "absent" };
    throw error;
  }
}
