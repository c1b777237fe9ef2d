/**
 * The distribution's own newer package, on Debian and what derives from it: for machines that reach their package mirror
 * but not GitHub. Nothing of the system changes, and no root is needed: apt works on lists, caches and a source that lie
 * in a folder of ours, checks the archive's signature with the machine's own keyring, and `dpkg -x` only unpacks.
 *
 * D1. The mirror and the key come from the machine's own apt sources; none is named here.
 * D2. Of the machine's apt configuration only how to reach its mirror is kept (proxies, and whether its index may be old,
 *     as on a frozen mirror); hooks, which may change the system (`APT::Update::Post-Invoke`), and leave to use unsigned
 *     archives are not.
 * D3. The package is found through the signed index, never by a file name: a mirror drops what is superseded.
 */
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { findAptSource, type AptSource } from "./apt-sources.ts";
import { admit, withIncoming, type FoundBinary } from "./binary-cache.ts";
import type { Program } from "./binary-programs.ts";

const UPDATE_MS_MAX = 180_000;
const DOWNLOAD_MS_MAX = 180_000;
const UNPACK_MS_MAX = 60_000;
const KEPT = /^Acquire::(https?|Retries|ForceIPv[46]|Check-Valid-Until|Max-ValidTime)\b/;

export interface DebianOptions {
  readonly cacheFolder: string;
  onProgress?(text: string): void;
}

/** Throws on a machine without apt, and where the distribution has nothing new enough. */
export async function fetchDebianPackage(program: Program, options: DebianOptions): Promise<FoundBinary> {
  const source = await findAptSource();
  const { packageName } = program.debian;
  return withIncoming(options.cacheFolder, async (incoming) => {
    const apt = await prepareApt(incoming, source);
    options.onProgress?.(`reading the package index of ${source.suite}`);
    await apt(["update"], UPDATE_MS_MAX);
    options.onProgress?.(`fetching the package ${packageName} of ${source.suite}`);
    await apt(["download", packageName], DOWNLOAD_MS_MAX);
    const file = (await readdir(incoming)).find((name) => name.startsWith(`${packageName}_`) && name.endsWith(".deb"));
    if (file === undefined) throw new Error(`apt-get download left no ${packageName}_….deb`);
    const unpacked = join(incoming, "unpacked");
    await execa("dpkg", ["-x", join(incoming, file), unpacked], { timeout: UNPACK_MS_MAX, stdin: "ignore" });
    return admit(program, join(unpacked, program.debian.path), options.cacheFolder);
  });
}

type Apt = (args: readonly string[], timeoutMs: number) => Promise<void>;

async function prepareApt(folder: string, source: AptSource): Promise<Apt> {
  const parts = join(folder, "sources");
  await mkdir(parts);
  await mkdir(join(folder, "lists", "partial"), { recursive: true });
  await mkdir(join(folder, "cache", "archives", "partial"), { recursive: true });
  await writeFile(join(folder, "status"), "");
  await writeFile(join(parts, "newer.sources"), source.text);
  const { stdout } = await execa("apt-config", ["dump"], { timeout: UNPACK_MS_MAX, stdin: "ignore" });
  const reach = stdout.split("\n").filter((line) => KEPT.test(line));
  const quoted = (path: string): string => `"${path}"`;
  const config = [
    ...reach,
    `Dir::Etc::parts "/dev/null";`,
    `Dir::Etc::main "/dev/null";`,
    `Dir::Etc::sourcelist "/dev/null";`,
    `Dir::Etc::sourceparts ${quoted(parts)};`,
    `Dir::State::lists ${quoted(join(folder, "lists"))};`,
    `Dir::State::status ${quoted(join(folder, "status"))};`,
    `Dir::Cache ${quoted(join(folder, "cache"))};`,
    // Root would hand the download to the user _apt, who may not write into this folder.
    `APT::Sandbox::User "";`,
    `APT::Get::List-Cleanup "false";`,
    `Acquire::Languages "none";`,
    `Acquire::PDiffs "false";`,
  ];
  const configFile = join(folder, "apt.conf");
  await writeFile(configFile, `${config.join("\n")}\n`, { mode: 0o600 });
  return async (args, timeoutMs) => {
    await execa("apt-get", args, { cwd: folder, env: { APT_CONFIG: configFile, LC_ALL: "C" }, timeout: timeoutMs, stdin: "ignore" });
  };
}

export async function isDebian(): Promise<boolean> {
  if (process.platform !== "linux") return false;
  const text = await readFile("/etc/os-release", "utf8").catch(() => "");
  return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(text);
}
