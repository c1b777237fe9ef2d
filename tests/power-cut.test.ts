/** The tools of the power-cut test: a trace says what was not synced, and a cut touches nothing else. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Chance } from "./simulation/world/chance.ts";
import { hasEnded, hasWritten, readTrace, type DiskTrace } from "./support/disk-trace.ts";
import { cutPower } from "./support/power-cut.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "cut-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function traceOf(lines: readonly string[], before: Record<string, number> = {}): DiskTrace {
  const file = path.join(folder, "trace");
  writeFileSync(file, `${lines.join("\n")}\n`);
  return readTrace(file, new Map(Object.entries(before)), (one) => one.startsWith("/d/"));
}

describe("a trace", () => {
  it("knows what was written after the last sync, also where two threads take turns", () => {
    const { files } = traceOf(
      [
        '11    pwrite64(5</d/a>, ""..., 4096, 0) = 4096',
        "11    fdatasync(5</d/a> <unfinished ...>",
        '12    pwrite64(6</d/a>, ""..., 100, 8192) = 100',
        "11    <... fdatasync resumed>)          = 0",
        '12    pwrite64(6</d/a>, ""..., 24, 4096 <unfinished ...>',
        "12    <... pwrite64 resumed>)           = 24",
        '11    pwrite64(5</elsewhere>, ""..., 1, 0) = 1',
        '11    pwrite64(7</d/b>, ""..., 10, 50) = 10',
        "11    fsync(7</d/b>) = -1 EIO (Input/output error)",
        '11    pwrite64(8</d/c>, ""..., 10, 0) = 10',
        "11    fsync(8</d/c> <unfinished ...>",
        "11    +++ killed by SIGKILL +++",
      ],
      { "/d/b": 60 },
    );
    expect(files.get("/d/a")).toEqual({
      writes: [
        { from: 8_192, to: 8_292 },
        { from: 4_096, to: 4_120 },
      ],
      syncedBytes: 4_096,
      bytes: 8_292,
    });
    expect(files.get("/d/b")).toMatchObject({ writes: [{ from: 50, to: 60 }], syncedBytes: 60 });
    expect(files.get("/d/c")).toMatchObject({ writes: [{ from: 0, to: 10 }], syncedBytes: 0 });
    expect([...files.keys()]).not.toContain("/elsewhere");
    expect([hasEnded(path.join(folder, "trace"), 11), hasEnded(path.join(folder, "trace"), 12)]).toEqual([true, false]);
    expect([hasWritten(path.join(folder, "trace"), "b"), hasWritten(path.join(folder, "trace"), "z")]).toEqual([true, false]);
  });

  it("knows which names do not last yet, and follows a file that is renamed or linked", () => {
    const made = (name: string): string => `7 openat(AT_FDCWD</x>, "/d/${name}", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 5</d/${name}>`;
    const { files, names } = traceOf(
      [
        made("old"),
        made("first"),
        "7 fsync(9</d>) = 0",
        made("draft"),
        '7 write(5</d/draft>, ""..., 58) = 58',
        '7 link("/d/draft", "/d/kept") = 0',
        '7 unlink("/d/draft") = 0',
        '7 rename("/d/first", "/d/second") = 0',
        '7 renameat(AT_FDCWD</d>, "second", AT_FDCWD</d>, "old") = 0',
        '7 unlink("/d/none") = -1 ENOENT (No such file or directory)',
        '7 openat(AT_FDCWD</x>, "/d/i-shm", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 5</d/i-shm>',
      ],
      { "/d/old": 1 },
    );
    expect(names).toEqual([
      { kind: "made", folder: "/d", path: "/d/draft" },
      { kind: "made", folder: "/d", path: "/d/kept" },
      { kind: "unlinked", folder: "/d", path: "/d/draft", other: "/d/kept" },
      { kind: "renamed", folder: "/d", from: "/d/first", path: "/d/second" },
      { kind: "replaced", folder: "/d" },
      { kind: "made", folder: "/d", path: "/d/i-shm" },
    ]);
    for (const name of ["kept", "i-shm"]) expect(files.get(`/d/${name}`)?.writes).toEqual([{ from: 0, to: Infinity }]);
  });
});

describe("a cut", () => {
  it("touches what was not synced, in every way, and nothing else", () => {
    const file = path.join(folder, "file");
    const whole = Buffer.alloc(8_000, "k");
    const ways = new Set<string>();
    for (let seed = 1; seed <= 200; seed += 1) {
      writeFileSync(file, whole);
      const writes = [
        { from: 100, to: 900 },
        { from: 600, to: 1_000 },
        { from: 6_000, to: 8_000 },
      ];
      const cut = cutPower({ files: new Map([[file, { writes, syncedBytes: 5_000, bytes: 8_000 }]]), names: [] }, new Chance(seed));
      const left = readFileSync(file);
      expect(left.length).toBeGreaterThanOrEqual(5_000);
      expect([left.subarray(0, 100), left.subarray(1_000, 5_000)].every((part) => part.every((byte) => byte === 0x6b))).toBe(true);
      const touched = Buffer.concat([left.subarray(100, 1_000), left.subarray(6_000)]);
      if (left.length < 8_000) ways.add("cut off");
      else if (left.equals(whole)) ways.add("kept");
      else ways.add(touched.every((byte) => byte === 0) ? "zeros" : touched.includes(whole.subarray(0, 16)) ? "mixed" : "garbage");
      expect(Object.keys(cut.bytes)).toEqual(left.equals(whole) ? [] : [file]);
    }
    expect([...ways].toSorted()).toEqual(["cut off", "garbage", "kept", "mixed", "zeros"]);
  });

  it("undoes the last names of a folder, and none before one that stays", () => {
    const at = (name: string): string => path.join(folder, "d", name);
    const seen = new Set<string>();
    for (let seed = 1; seed <= 100; seed += 1) {
      mkdirSync(at("."), { recursive: true });
      for (const name of ["a", "b", "moved"]) writeFileSync(at(name), name);
      const made = (name: string) => ({ kind: "made", folder: at("."), path: at(name) }) as const;
      const renamed = { kind: "renamed", folder: at("."), from: at("c"), path: at("moved") } as const;
      cutPower(
        { files: new Map(), names: [made("none"), { kind: "replaced", folder: at(".") }, made("a"), renamed, made("b")] },
        new Chance(seed),
      );
      seen.add(["a", "b", "c", "moved"].filter((name) => existsSync(at(name))).join());
      rmSync(at("."), { recursive: true });
    }
    expect([...seen].toSorted()).toEqual(["a,b,moved", "a,c", "a,moved", "c"]);
  });
});
