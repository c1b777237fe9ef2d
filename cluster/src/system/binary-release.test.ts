import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PROGRAMS, type Program } from "./binary-programs.ts";
import { fetchRelease, hashIn } from "./binary-release.ts";
import { silentLog } from "./log.ts";

const PLATFORM = `${process.platform}-${process.arch}`;
const STEM = "nats-server-v2.14.7-test";
const ARCHIVE = `${STEM}.tar.gz`;

// The stand-ins for the program are shell scripts.
describe.skipIf(process.platform === "win32")("official release", () => {
  let folder: string;
  let server: Server;
  let served: Map<string, Buffer>;
  let program: Program;
  const cache = (): string => join(folder, "cache");
  const fetching = (of: Program = program): ReturnType<typeof fetchRelease> => fetchRelease(of, { cacheFolder: cache(), log: silentLog });
  const withHash = (sha256: string): Program => ({ ...program, release: { ...program.release, hashes: { [PLATFORM]: sha256 } } });
  const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "release-"));
    await mkdir(join(folder, STEM));
    await writeFile(join(folder, STEM, "nats-server"), "#!/bin/sh\necho 'nats-server: v2.14.7'\n");
    await execa("tar", ["-czf", join(folder, ARCHIVE), "-C", folder, STEM]);
    const archive = await readFile(join(folder, ARCHIVE));
    served = new Map([[`/${ARCHIVE}`, archive]]);
    server = createServer((request, response) => {
      const body = served.get(request.url ?? "");
      response.statusCode = body === undefined ? 404 : 200;
      response.end(body);
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    program = {
      ...PROGRAMS["nats-server"],
      release: { version: "2.14.7", url, assets: { [PLATFORM]: "test.tar.gz" }, hashes: { [PLATFORM]: sha256(archive) } },
    };
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true, force: true });
  });

  test("with the pinned hash it lands in the cache under its version", async () => {
    expect(await fetching()).toEqual({ path: join(cache(), "nats-server-2.14.7"), version: "2.14.7" });
    expect(await readdir(cache())).toEqual(["nats-server-2.14.7"]);
  });

  test("several at once do not disturb each other", async () => {
    const all = await Promise.all([fetching(), fetching(), fetching()]);
    expect(new Set(all.map(({ path }) => path)).size).toBe(1);
    expect(await readdir(cache())).toEqual(["nats-server-2.14.7"]);
  });

  test("another hash is refused, and nothing is left or run", async () => {
    await expect(fetching(withHash("0".repeat(64)))).rejects.toThrow(/has SHA-256/);
    expect(await readdir(cache())).toEqual([]);
  });

  test("without a pinned hash the published sums decide", async () => {
    const unpinned = { ...program, release: { ...program.release, hashes: {} } };
    await expect(fetching(unpinned)).rejects.toThrow(/SHA256SUMS answered 404/);
    served.set("/SHA256SUMS", Buffer.from(`${"0".repeat(64)}  ${ARCHIVE}\n`));
    await expect(fetching(unpinned)).rejects.toThrow(/has SHA-256/);
    served.set("/SHA256SUMS", Buffer.from(`${sha256(served.get(`/${ARCHIVE}`) ?? Buffer.from(""))}  ${ARCHIVE}\n`));
    expect((await fetching(unpinned)).version).toBe("2.14.7");
  });

  test("a platform that upstream does not build for, and a missing archive, are errors", async () => {
    await expect(fetching({ ...program, release: { ...program.release, assets: {} } })).rejects.toThrow(/no release for/);
    served.clear();
    await expect(fetching()).rejects.toThrow(/answered 404/);
    expect(await readdir(cache())).toEqual([]);
  });

  test("an archive whose program is too old is not admitted", async () => {
    await expect(fetching({ ...program, floor: "2.15.0" })).rejects.toThrow(/older than 2.15.0/);
    expect(await readdir(cache())).toEqual([]);
  });
});

test("every pinned hash looks like one and belongs to a platform with a release", () => {
  for (const { release } of Object.values(PROGRAMS)) {
    for (const [platform, hash] of Object.entries(release.hashes)) {
      expect(hash).toMatch(/^[0-9a-f]{64}$/);
      expect(release.assets).toHaveProperty(platform);
    }
  }
});

test("sums are read by file name, in text and binary form", () => {
  const [one, two] = ["1".repeat(64), "2".repeat(64)];
  expect(hashIn(`${one}  a.tar.gz\n${two} *b.zip\r\n`, "b.zip")).toBe(two);
  expect(hashIn(`${one}  a.tar.gz\n`, "tar.gz")).toBeUndefined();
});
