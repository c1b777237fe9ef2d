import {
  closeSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openPlace } from "./open-place.ts";

describe.skipIf(process.platform !== "linux")("a place by its path", () => {
  let folder: string;
  beforeEach(() => {
    folder = realpathSync(mkdtempSync(path.join(tmpdir(), "ocx-place-")));
    mkdirSync(path.join(folder, "a", "b"), { recursive: true });
    writeFileSync(path.join(folder, "a", "file"), "");
    symlinkSync("a", path.join(folder, "link"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test("the descriptor stays that place, whatever is put there afterwards", () => {
    const place = path.join(folder, "a", "b");
    const { ino } = statSync(place);
    const opened = openPlace(`${place}/../b/`);
    if (opened.kind !== "open") throw new Error(opened.kind);
    renameSync(place, path.join(folder, "moved"));
    symlinkSync("/", place);
    expect(fstatSync(opened.descriptor)).toMatchObject({ ino });
    closeSync(opened.descriptor);
  });

  test.each([
    ["a", true],
    ["a/file", false],
  ])("%s: there", (name, isFolder) => {
    const opened = openPlace(path.join(folder, name));
    expect(opened).toMatchObject({ kind: "open", isFolder });
    if (opened.kind === "open") closeSync(opened.descriptor);
  });

  test.each(["link", "link/b", "link/none"])("%s: a link, wherever on the way (O1)", (name) => {
    expect(openPlace(path.join(folder, name))).toEqual({ kind: "link", at: path.join(folder, "link") });
  });

  test.each(["none", "none/more", "a/file/more"])("%s: absent", (name) => {
    expect(openPlace(path.join(folder, name))).toEqual({ kind: "absent" });
  });
});
