/** What failpoints.test.ts and its child agree on: how many tasks there are, and a layout that does not exist yet. */
import { MIGRATIONS } from "../../cluster/src/store/sqlite-migrations.ts";

export const TASKS = 2_000;
/** All of them ended before. */
export const OLD_UNTIL = 1_000;
/** Writes every row anew, so that it takes a while and much of the log. */
export const LAYOUTS: readonly string[] = [
  ...MIGRATIONS,
  "ALTER TABLE specs ADD COLUMN checked TEXT; UPDATE specs SET checked = hex(randomblob(400))",
];
