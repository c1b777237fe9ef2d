import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { restoreBackup } from "./restore.ts";

test("where the tasks are in etcd, a file is not put where nobody would read it", async () => {
  const home = mkdtempSync(path.join(tmpdir(), "ocx-restore-"));
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
  writeFileSync(path.join(home, "cluster.yaml"), JSON.stringify({ nodeId: "nas", store: { kind: "etcd" } }));
  const restoring = restoreBackup({ home, env: {}, file: "any.db", dryRun: false });
  await expect(restoring).rejects.toMatchObject({ code: "state_conflict", detail: expect.stringContaining("store.kind sqlite") });
});
