/** Run by failpoints.test.ts: opens a store, armed, and prunes it or brings it to a layout of tomorrow. */
import { armFailpoint } from "../../cluster/src/system/failpoint.ts";
import { openSqliteStore } from "../../cluster/src/store/sqlite.ts";
import { LAYOUTS, OLD_UNTIL, TASKS } from "./failpoints.layouts.ts";

const [, , act, path = "", backups = ""] = process.argv;
armFailpoint(process.env);
const store = await openSqliteStore({ path, backups, ...(act === "migrate" && { migrations: LAYOUTS }) });
if (act === "prune") await store.prune({ endedBefore: OLD_UNTIL, limit: TASKS });
await store.close();
