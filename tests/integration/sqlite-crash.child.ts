/**
 * Run by sqlite-crash.test.ts: commits to the store named by its first argument until it is killed. Says each commit on
 * stdout right after it resolved, with a write that is done when it returns.
 */
import { writeSync } from "node:fs";
import { openSqliteStore } from "../../cluster/src/store/sqlite.ts";
import { newTask, settled } from "./sqlite-crash.tasks.ts";

/** Whoever reads may be busy for a moment, and a pipe takes no more than it holds. */
function say(line: string): void {
  for (let rest = Buffer.from(`${line}\n`); rest.length > 0;) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    }
  }
}

say("opening");
const store = await openSqliteStore({ path: process.argv[2] as string });
const { epoch } = await store.claim();
let { lastKey } = await store.load();
say("open");
for (let size = 1; ; size = 300) {
  const created = Array.from({ length: size }, (_, index) => newTask(lastKey + 1 + index, lastKey + size));
  await store.commit({ epoch, created });
  lastKey += size;
  say(`created ${lastKey}`);
  await store.commit({ epoch, changed: created.map(settled) });
  say(`settled ${lastKey}`);
}
