import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { foldersOf, makeFolders, type Folders } from "./folders.ts";
import { claimHome } from "./home-claim.ts";

let folders: Folders;
beforeEach(async () => {
  folders = foldersOf(mkdtempSync(join(tmpdir(), "claim-")));
  await makeFolders(folders);
});
afterEach(() => rmSync(folders.home, { recursive: true }));

it("a home belongs to one daemon until that lets go", () => {
  const first = claimHome(folders.home, folders.data);
  expect(() => claimHome(folders.home, folders.data)).toThrow(
    expect.objectContaining({ code: "already_running", detail: `Another daemon runs in ${folders.home}.` }),
  );
  first.release();
  claimHome(folders.home, folders.data).release();
});
