import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { resolveBinary, type Binary } from "./binaries.ts";
import { silentLog, type Log } from "./log.ts";

// The stand-ins for the program are shell scripts.
describe.skipIf(process.platform === "win32")("resolveBinary", () => {
  let folder: string;
  let warnings: unknown[];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "binaries-"));
    warnings = [];
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const program = async (path: string, version: string): Promise<string> => {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, `#!/bin/sh\necho 'nats-server: v${version}'\n`);
    await chmod(file, 0o755);
    return file;
  };
  const resolve = (env: NodeJS.ProcessEnv = {}): Promise<Binary> => {
    const log = { ...silentLog, debug: () => undefined, warn: (...words: unknown[]) => void warnings.push(words) } as unknown as Log;
    return resolveBinary("nats-server", {
      cacheFolder: join(folder, "cache"),
      log,
      offline: true,
      env: { PATH: join(folder, "path"), ...env },
    });
  };

  test("the variable comes before PATH, PATH before the cache", async () => {
    const named = await program("named/nats", "2.15.1");
    const onPath = await program("path/nats-server", "2.15.1");
    const cached = await program("cache/bin/nats-server-2.15.1", "2.15.1");
    expect(await resolve({ OPENCLAW_CLUSTER_NATS_BIN: named })).toEqual({ path: named, version: "2.15.1", source: "env" });
    expect(await resolve()).toEqual({ path: onPath, version: "2.15.1", source: "path" });
    expect(await resolve({ PATH: "" })).toEqual({ path: cached, version: "2.15.1", source: "cache" });
  });

  test("a named program that is missing, no program or too old is an error, not passed over", async () => {
    await program("path/nats-server", "2.15.1");
    for (const path of ["/nowhere/nats-server", "relative/nats-server", await program("old", "2.9.10")]) {
      await expect(resolve({ OPENCLAW_CLUSTER_NATS_BIN: path })).rejects.toMatchObject({
        code: "binary_missing",
        detail: expect.stringContaining(path),
      });
    }
  });

  test("an old one on PATH is passed over, and the message at the end says so and what to do", async () => {
    const old = await program("path/nats-server", "2.9.10");
    await expect(resolve()).rejects.toMatchObject({
      code: "binary_missing",
      detail: expect.stringMatching(new RegExp(`${old} is 2.9.10, too old.*offline.*Install it: .*OPENCLAW_CLUSTER_NATS_BIN=`)),
    });
    const cached = await program("cache/bin/nats-server-2.15.1", "2.15.1");
    expect((await resolve()).path).toBe(cached);
  });

  test("of the cache the newest that serves is taken; other files there are not looked at", async () => {
    await program("cache/bin/nats-server-2.10.27", "2.10.27");
    const newest = await program("cache/bin/nats-server-2.14.7", "2.14.7");
    await program("cache/bin/nats-server-2.9.10", "2.9.10");
    await program("cache/bin/etcd-3.5.30", "3.5.30");
    await program("cache/bin/nats-server-9.9.9.part", "9.9.9");
    await writeFile(join(folder, "cache/bin/nats-server-2.15.0"), "not executable");
    expect((await resolve()).path).toBe(newest);
  });

  test("one with known faults serves with a warning", async () => {
    await program("path/nats-server", "2.10.27");
    expect((await resolve()).version).toBe("2.10.27");
    expect(warnings).toEqual([[{ path: expect.any(String), version: "2.10.27" }, expect.stringContaining("2.14.3")]]);
  });
});
