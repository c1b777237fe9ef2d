import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqliteStore } from "./sqlite.ts";
import { describeStore } from "./store.conformance.ts";

describeStore("sqlite", async () => {
  const folder = mkdtempSync(join(tmpdir(), "store-"));
  const path = join(folder, "cluster.db");
  let store = await openSqliteStore({ path });
  return {
    store,
    async reopen() {
      await store.close();
      return (store = await openSqliteStore({ path }));
    },
    async end() {
      await store.close();
      rmSync(folder, { recursive: true });
    },
  };
});
