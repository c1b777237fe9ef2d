/**
 * llama-server from the distribution's newer suite, with all the libraries it needs, C library included, in a folder. As
 * in binary-debian.ts nothing of the system changes, no root is needed, and no mirror is named: its D1 to D3 hold here.
 *
 * P1. What belongs to it is apt's to say: to the apt that works here nothing is installed, so it fetches all of it.
 * P2. It is started by the loader in its tree, and finds libraries nowhere but there: the machine's C library may be older.
 */
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { findAptSource } from "../../cluster/src/system/apt-sources.ts";

export interface LlamaProgram {
  /** The program, with what must stand before its own arguments. */
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
}

const PACKAGE = "llama.cpp-tools";
/** The index of the suite, then 20 MB: 5 s each where the line is good. */
const APT_MS_MAX = 180_000;
/** Of one package. */
const UNPACK_MS_MAX = 60_000;
/** How the machine's own apt reaches its mirror. */
const KEPT = /^Acquire::(https?|Retries|ForceIPv[46]|Check-Valid-Until|Max-ValidTime)\b/;
/** Of what is unpacked nothing here is asked for: papers, other programs' settings. */
const UNNEEDED = ["etc", "var", join("usr", "share"), join("usr", "sbin")];
/** Builds of llama.cpp's arithmetic with what each asks of the processor, the fastest first. */
const BACKENDS: readonly (readonly [name: string, flags: readonly string[]])[] = [
  ["zen4", ["avx512f", "avx512bw", "avx512vl", "avx512vbmi", "avx512_vnni", "avx512_bf16"]],
  ["haswell", ["avx2", "fma", "f16c", "bmi2"]],
  ["x64", []],
];

/** Fetches and unpacks it in this folder; returns the tree. */
export async function unpackLlama(folder: string): Promise<string> {
  const unpacked = join(folder, "unpacked");
  for (const file of await fetchPackages(folder)) await runProgram(["dpkg", "-x", file, unpacked], { timeoutMs: UNPACK_MS_MAX });
  for (const unneeded of UNNEEDED) await rm(join(unpacked, unneeded), { recursive: true, force: true });
  return unpacked;
}

async function fetchPackages(folder: string): Promise<string[]> {
  const sources = join(folder, "sources");
  const lists = join(folder, "lists");
  const archives = join(folder, "cache", "archives");
  for (const path of [sources, join(lists, "partial"), join(archives, "partial")]) await mkdir(path, { recursive: true });
  await writeFile(join(folder, "status"), "");
  await writeFile(join(sources, "newer.sources"), (await findAptSource()).text);
  const dumped = await runProgram(["apt-config", "dump"], { timeoutMs: UNPACK_MS_MAX });
  const config = [
    ...dumped.split("\n").filter((line) => KEPT.test(line)),
    ...["parts", "main", "sourcelist"].map((name) => `Dir::Etc::${name} "/dev/null";`),
    `Dir::Etc::sourceparts "${sources}";`,
    `Dir::State "${folder}";`,
    `Dir::State::lists "${lists}";`,
    `Dir::State::status "${join(folder, "status")}";`,
    `Dir::Cache "${join(folder, "cache")}";`,
    // Root would hand the download to the user _apt, who may not write into this folder.
    `APT::Sandbox::User "";`,
    `Acquire::Languages "none";`,
    `Acquire::PDiffs "false";`,
  ];
  const configFile = join(folder, "apt.conf");
  await writeFile(configFile, `${config.join("\n")}\n`, { mode: 0o600 });
  const env = { ...process.env, APT_CONFIG: configFile, LC_ALL: "C" };
  // Else an index that cannot be fetched is only a warning.
  await runProgram(["apt-get", "update", "--error-on=any"], { timeoutMs: APT_MS_MAX, env });
  const install = ["install", "--download-only", "--no-install-recommends", "--yes", PACKAGE] as const;
  await runProgram(["apt-get", ...install], { timeoutMs: APT_MS_MAX, env });
  return (await readdir(archives)).filter((name) => name.endsWith(".deb")).map((name) => join(archives, name));
}

/** How to start what lies in such a tree, on this processor. */
export async function programIn(tree: string): Promise<LlamaProgram> {
  const libraries = await find(join(tree, "usr", "lib"), /-linux-gnu/);
  const loader = await find(libraries, /^ld-linux.*\.so\.\d$/);
  const searched = `${libraries}:${join(libraries, "llama")}`;
  const backends = await find(join(libraries, "ggml"), /^backends/);
  return {
    command: [loader, "--library-path", searched, join(tree, "usr", "bin", "llama-server")],
    // It looks for its arithmetic in a folder of the system; without this it says that no backends are loaded.
    env: { GGML_BACKEND_PATH: join(backends, await chooseBackend(backends)) },
  };
}

async function find(folder: string, pattern: RegExp): Promise<string> {
  const name = (await readdir(folder)).find((entry) => pattern.test(entry));
  if (name === undefined) throw new Error(`nothing like ${pattern.source} in ${folder}`);
  return join(folder, name);
}

async function chooseBackend(folder: string): Promise<string> {
  const names = (await readdir(folder)).filter((name) => name.startsWith("libggml-cpu-")).sort();
  const flags = new Set(
    /^flags\s*:(.*)$/m
      .exec(await readFile("/proc/cpuinfo", "utf8"))?.[1]
      ?.trim()
      .split(" "),
  );
  const fitting = BACKENDS.filter(([, needed]) => needed.every((flag) => flags.has(flag))).map(([name]) => `libggml-cpu-${name}.so`);
  // On other architectures the first by name asks the least: armv8.0 before armv8.2.
  const chosen = fitting.find((name) => names.includes(name)) ?? names[0];
  if (chosen === undefined) throw new Error(`no build for this processor in ${folder}`);
  return chosen;
}

/** What it prints. Rejects with its stderr where it does not end well in time. */
export async function runProgram(
  [file, ...args]: readonly [string, ...string[]],
  { timeoutMs, env = process.env }: { readonly timeoutMs: number; readonly env?: NodeJS.ProcessEnv },
): Promise<string> {
  const { stdout } = await promisify(execFile)(file, args, { timeout: timeoutMs, killSignal: "SIGKILL", env });
  return stdout;
}
