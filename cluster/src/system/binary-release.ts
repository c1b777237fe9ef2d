/**
 * The official release from GitHub: fetched over TLS, checked by SHA-256, unpacked into the cache.
 *
 * R1. Nothing is unpacked or run before its hash was compared: with the table in binary-programs.ts, or, for a platform
 *     that the table does not have, with the SHA256SUMS that upstream publishes beside the archive. The second proves
 *     only that the download is what GitHub serves, and the log says so.
 * R2. Every step has a limit in time and the download one in bytes.
 */
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { admit, withIncoming, type FoundBinary } from "./binary-cache.ts";
import type { Program } from "./binary-programs.ts";
import type { Log } from "./log.ts";

/** A host that drops packets must not hold up the start for long: what comes next in the order may work. */
const ANSWER_MS_MAX = 8_000;
const DOWNLOAD_MS_MAX = 180_000;
const UNPACK_MS_MAX = 60_000;
/** etcd's archives are the largest, about 25 MB. */
const ARCHIVE_BYTES_MAX = 128 * 1024 * 1024;
const SUMS_BYTES_MAX = 256 * 1024;

export interface ReleaseOptions {
  readonly cacheFolder: string;
  readonly log: Log;
  onProgress?(text: string): void;
}

export async function fetchRelease(program: Program, options: ReleaseOptions): Promise<FoundBinary> {
  const platform = `${process.platform}-${process.arch}`;
  const { release } = program;
  const asset = release.assets[platform];
  if (asset === undefined) throw new Error(`upstream has no release for ${platform}`);
  const stem = `${program.name}-v${release.version}-${asset.replace(/\.(tar\.gz|zip)$/, "")}`;
  const archive = `${program.name}-v${release.version}-${asset}`;
  return withIncoming(options.cacheFolder, async (incoming) => {
    const expected = release.hashes[platform] ?? (await publishedHash(release.url, archive, options.log));
    options.onProgress?.(`fetching ${archive}`);
    const file = join(incoming, archive);
    const actual = await download(`${release.url}/${archive}`, file);
    if (actual !== expected) throw new Error(`${archive} has SHA-256 ${actual}, not the ${expected} that is expected of it`);
    const member = `${stem}/${program.name}${process.platform === "win32" ? ".exe" : ""}`;
    await execa(tarProgram(), ["-xf", file, "-C", incoming, member], { timeout: UNPACK_MS_MAX, stdin: "ignore" });
    return admit(program, join(incoming, member), options.cacheFolder);
  });
}

/** `<hash>  <file>` lines, as sha256sum prints them. */
export function hashIn(sums: string, file: string): string | undefined {
  for (const line of sums.split("\n")) {
    const [, hash, name] = /^([0-9a-f]{64}) [ *](.+?)\s*$/.exec(line) ?? [];
    if (name === file) return hash;
  }
  return undefined;
}

async function publishedHash(url: string, archive: string, log: Log): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of read(`${url}/SHA256SUMS`, SUMS_BYTES_MAX)) chunks.push(chunk);
  const hash = hashIn(Buffer.concat(chunks).toString("utf8"), archive);
  if (hash === undefined) throw new Error(`SHA256SUMS does not name ${archive}`);
  log.warn({ archive }, "no hash of this archive is pinned in the source; it is checked against the SHA256SUMS published beside it");
  return hash;
}

/** Returns the SHA-256 of what was written. */
async function download(url: string, file: string): Promise<string> {
  const hash = createHash("sha256");
  await using handle = await open(file, "wx", 0o600);
  for await (const chunk of read(url, ARCHIVE_BYTES_MAX)) {
    hash.update(chunk);
    await handle.write(chunk);
  }
  return hash.digest("hex");
}

async function* read(url: string, bytesMax: number): AsyncGenerator<Uint8Array> {
  const noAnswer = new AbortController();
  const timer = setTimeout(() => noAnswer.abort(new Error(`no answer within ${ANSWER_MS_MAX} ms`)), ANSWER_MS_MAX);
  try {
    const response = await fetch(url, { signal: AbortSignal.any([noAnswer.signal, AbortSignal.timeout(DOWNLOAD_MS_MAX)]) });
    clearTimeout(timer);
    if (!response.ok || response.body === null) throw new Error(`${url} answered ${response.status}`);
    let bytes = 0;
    for await (const chunk of response.body) {
      bytes += chunk.byteLength;
      if (bytes > bytesMax) throw new Error(`${url} is larger than ${bytesMax} bytes`);
      yield chunk;
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Windows and macOS have bsdtar, which also reads .zip; a GNU tar earlier on Windows' PATH would not. */
function tarProgram(): string {
  return process.platform === "win32" ? join(process.env["SystemRoot"] ?? "C:\\Windows", "System32", "tar.exe") : "tar";
}
