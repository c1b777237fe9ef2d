import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadKeyFile, readKeyFile } from "./key-file.ts";

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ocx-key-file-"));
  file = join(folder, "deep", "own.key");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const read = (path: string): string | undefined => readKeyFile(path, "key file");
const never = (): string => {
  throw new Error("made though it is there");
};

test("it is made at the first call, for its owner only, and is the same from then on (K1)", () => {
  expect(read(file)).toBeUndefined();
  expect(loadKeyFile(file, read, () => "mine\n")).toBe("mine");
  expect(loadKeyFile(file, read, never)).toBe("mine");
  if (process.platform !== "win32") expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(folder, "deep"))).toEqual(["own.key"]);
});

test("whoever is overtaken has the key of the one who was faster, and leaves no draft (K2)", () => {
  const overtaken = (): string => {
    // Between our look and our link.
    mkdirSync(join(folder, "deep"), { recursive: true });
    writeFileSync(file, "theirs", { mode: 0o600 });
    return "mine";
  };
  expect(loadKeyFile(file, read, overtaken)).toBe("theirs");
  expect(readFileSync(file, "utf8")).toBe("theirs");
  expect(readdirSync(join(folder, "deep"))).toEqual(["own.key"]);
});

test.skipIf(process.platform === "win32")("one that others may read is refused, without its words (K1, K4)", () => {
  loadKeyFile(file, read, () => "canary");
  chmodSync(file, 0o640);
  expect(() => loadKeyFile(file, read, never)).toThrow(
    expect.objectContaining({ code: "config_invalid", message: expect.stringMatching(/^(?!.*canary).*chmod 600/) }),
  );
});

test("where it cannot be, that is a fault of the settings, and nothing is left", () => {
  mkdirSync(join(folder, "deep"));
  mkdirSync(file);
  const blind = (): undefined => undefined;
  expect(() => loadKeyFile(join(file, "x".repeat(300)), blind, () => "mine")).toThrow(
    expect.objectContaining({ code: "config_invalid", message: expect.stringContaining("cannot be written") }),
  );
  expect(readdirSync(file)).toEqual([]);
});
