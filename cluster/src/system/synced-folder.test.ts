import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { syncFolder } from "./synced-folder.ts";

// That it reaches the disk is shown with system calls: tests/faults/power-cut.test.ts.
test.skipIf(process.platform === "win32")("a folder can be synced, and one that is not there cannot", () => {
  const folder = mkdtempSync(join(tmpdir(), "ocx-synced-"));
  syncFolder(folder);
  rmSync(folder, { recursive: true });
  expect(() => syncFolder(folder)).toThrow(expect.objectContaining({ code: "ENOENT" }));
});
