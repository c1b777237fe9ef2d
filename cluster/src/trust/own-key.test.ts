import { existsSync } from "node:fs";
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromSeed } from "@nats-io/nkeys";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { OwnKey, nextFile } from "./own-key.ts";

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "own-key-"));
  file = join(folder, "node.seed");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const keysOf = (seeds: readonly Uint8Array[]): string[] => seeds.map((seed) => fromSeed(seed).getPublicKey());

test("one key, until another is to take its place; then both, the old one first, in files for the owner only", async () => {
  const ring = await OwnKey.open(file);
  expect(ring.all().map(({ publicKey }) => publicKey)).toEqual([ring.publicKey]);
  const next = await ring.next();
  expect(await ring.next()).toEqual(next);
  expect(ring.all().map(({ publicKey }) => publicKey)).toEqual([ring.publicKey, next.publicKey]);
  expect((await readFile(nextFile(file), "utf8")).startsWith("SU")).toBe(true);
});

test("whoever was let in with the next one puts it into its place; another process of the machine finds it there", async () => {
  const [cli, daemon] = [await OwnKey.open(file), await OwnKey.open(file)];
  const next = await cli.next();
  cli.settle(next);
  expect(await readdir(folder)).toEqual(["node.seed"]);
  expect([cli.publicKey, daemon.publicKey === next.publicKey]).toEqual([next.publicKey, false]);
  // The daemon's connection was cut, and it tries again.
  expect(keysOf([daemon.forAttempt()])).toEqual([next.publicKey]);
  daemon.letIn();
  expect(daemon.publicKey).toBe(next.publicKey);
});

test("let in with the old one, the next one is kept: whether it counts is not known yet", async () => {
  const ring = await OwnKey.open(file);
  const old = ring.publicKey;
  const next = await ring.next();
  ring.forAttempt();
  ring.letIn();
  expect(ring.publicKey).toBe(old);
  expect(existsSync(nextFile(file))).toBe(true);
  // Refused once: then the other one, and so on.
  expect(keysOf([ring.forAttempt(), ring.forAttempt(), ring.forAttempt()])).toEqual([old, next.publicKey, old]);
  ring.forAttempt();
  ring.letIn();
  expect(ring.publicKey).toBe(next.publicKey);
  expect(await readdir(folder)).toEqual(["node.seed"]);
});

test("a refusal counts only when every key was tried, one that came meanwhile included", async () => {
  const ring = await OwnKey.open(file);
  const other = await OwnKey.open(file);
  const refused = new Error("refused");
  const tried: string[] = [];
  const knock = (opens: () => string) =>
    ring.withEach(
      async ({ publicKey }) => {
        tried.push(publicKey);
        // While the first question is under way, the key is exchanged by another process.
        if (tried.length === 1) other.settle(await other.next());
        if (publicKey !== opens()) throw refused;
        return publicKey;
      },
      (error) => error === refused,
    );
  expect(await knock(() => other.publicKey)).toBe(other.publicKey);
  expect([tried.length, ring.publicKey]).toEqual([2, other.publicKey]);
  await expect(knock(() => "none")).rejects.toBe(refused);
  await expect(
    ring.withEach(
      () => Promise.reject(new Error("away")),
      (error) => error === refused,
    ),
  ).rejects.toThrow("away");
});

test("a handshake does not fall over a file that cannot be read; whoever opens the ring hears of it", async () => {
  const ring = await OwnKey.open(file);
  await writeFile(nextFile(file), "not a seed", { mode: 0o600 });
  expect(keysOf([ring.forAttempt()])).toEqual([ring.publicKey]);
  expect(() => ring.all()).toThrow(expect.objectContaining({ code: "config_invalid" }));
  if (process.platform === "win32") return;
  await rm(nextFile(file));
  await chmod(file, 0o644);
  expect(() => ring.all()).toThrow(expect.objectContaining({ code: "config_invalid" }));
  await expect(OwnKey.open(file)).rejects.toMatchObject({ code: "config_invalid" });
});

test("wherever the exchange is cut off, and however often: one of the two files opens the door", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom("asked", "lost", "taken", "answered", "tried"), { maxLength: 8 }), async (steps) => {
      await rm(folder, { recursive: true });
      let ring = await OwnKey.open(file);
      let door = ring.publicKey;
      for (const step of steps) {
        // Each step is one of a process that dies after it.
        ring = await OwnKey.open(file);
        if (step === "asked") await ring.next();
        if (step === "taken" || step === "answered") door = (await ring.next()).publicKey;
        if (step === "answered") ring.settle(await ring.next());
        const key = ring.all().find(({ publicKey }) => publicKey === door);
        expect(key).toBeDefined();
        if (step === "tried" && key !== undefined) ring.settle(key);
      }
    }),
    { numRuns: 10 },
  );
});
