/**
 * The house's rules as data and pure functions over file texts: floors, doors, banned words, names, sizes. What they
 * mean and why is in ARCHITECTURE.md; tests/tidy.test.ts runs them on the tree and on planted violations.
 *
 * Imports are found by pattern, not by a parser: the formatter keeps every import in a form that the pattern knows.
 */
import { posix } from "node:path";

export interface SourceFile {
  /** From the repository's root, with slashes. */
  readonly path: string;
  readonly text: string;
}

/** From the ground up. A room imports from floors below it only, never from a neighbour; type imports count too. */
const FLOORS = [
  ["contract"],
  ["core", "system"],
  ["trust"],
  ["store", "bus", "openclaw"],
  ["executors", "skills", "models", "memory"],
  ["coordinator", "worker"],
  ["api", "mcp"],
  ["compose"],
  ["cli"],
] as const;

/** Rooms on these floors are entered only through `<room>/<room>.ts`. Below them are libraries, above them is wiring. */
const FLOORS_WITH_DOORS = [3, 4, 5, 6];
/** A door's second leaf: plain names that both sides of the bus speak. */
const DOORS_BESIDE = ["cluster/src/bus/subjects.ts"];
/** The one room that may name sqlite.ts, nats.ts and the like: it chooses among them. */
const WIRING = "compose";

const LINES_MAX = 400;
const NAMES_BANNED = ["utils", "util", "helpers", "helper", "manager", "common", "misc", "index"];
const CONTRACT = "@openclaw-cluster/contract/";

/** Patterns that must not match in the code (comments aside) of files under a folder. */
const WORDS_BANNED: readonly { readonly under: string; readonly pattern: RegExp; readonly why: string }[] = [
  {
    under: "cluster/src/core/",
    pattern: /\b(Date|Math\.random|setTimeout|setInterval|performance|process)\b/,
    why: "time and randomness are arguments in core",
  },
  { under: "cluster/src/core/", pattern: /["']node:/, why: "core does no I/O" },
  { under: "scripts/", pattern: /import\.meta\.main/, why: "scripts/launch.mjs imports the script, so it is never the main module" },
  { under: "cluster/bin/", pattern: /import\.meta\.main/, why: "the launcher imports the program, so it is never the main module" },
];

const isTest = (path: string): boolean => /(\.(test|conformance|model|bench)|\/fixtures)\.ts$/.test(path);
const isCode = (path: string): boolean => /\.(ts|tsx|mjs)$/.test(path);
const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");

/** Modules that the text names in import, export … from and import(). */
function importsOf({ text }: SourceFile): string[] {
  const pattern = /^(?:import|export)\s(?:[^;"']*?\sfrom\s)?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/gm;
  return [...withoutComments(text).matchAll(pattern)].map((match) => match[1] ?? match[2] ?? "");
}

/** `cluster/src/store/sqlite.ts` → store; `contract/src/ids.ts` → contract; anything else → undefined. */
function roomOf(path: string): string | undefined {
  if (path.startsWith("contract/src/")) return "contract";
  return /^cluster\/src\/([^/]+)\//.exec(path)?.[1];
}

const floorOf = (room: string): number => FLOORS.findIndex((rooms) => (rooms as readonly string[]).includes(room));

/** Where a relative or contract import leads, as a path from the root; undefined for a package. */
function targetOf(from: SourceFile, specifier: string): string | undefined {
  if (specifier.startsWith(CONTRACT)) return `contract/src/${specifier.slice(CONTRACT.length)}.ts`;
  return specifier.startsWith(".") ? posix.join(posix.dirname(from.path), specifier) : undefined;
}

type Complaints = string[];
/** Calls `judge` for each import of each file in a room. */
function forEachImport(
  files: readonly SourceFile[],
  judge: (file: SourceFile, room: string, specifier: string, target: string | undefined) => string | undefined,
): Complaints {
  return files.flatMap((file) => {
    const room = roomOf(file.path);
    if (room === undefined) return [];
    return importsOf(file).flatMap((specifier) => {
      const complaint = judge(file, room, specifier, targetOf(file, specifier));
      return complaint === undefined ? [] : [`${file.path} → ${specifier}: ${complaint}`];
    });
  });
}

export function checkFloors(files: readonly SourceFile[]): Complaints {
  const homeless = files.filter(({ path }) => roomOf(path) !== undefined && floorOf(roomOf(path) ?? "") < 0);
  return [
    ...homeless.map(({ path }) => `${path}: its room stands on no floor`),
    ...forEachImport(files, (file, room, specifier, target) => {
      const to = target === undefined ? undefined : roomOf(target);
      if (target === undefined || to === room) return undefined;
      if (to === undefined) return isTest(file.path) ? undefined : "leaves the house";
      if (to === "contract" && !specifier.startsWith(CONTRACT)) return "contract is imported by its package name";
      return floorOf(to) < floorOf(room) ? undefined : `${room} stands on floor ${floorOf(room)}, ${to} on floor ${floorOf(to)}`;
    }),
  ];
}

/** Tests may take a real store or bus to hand to the room that they test. */
export function checkDoors(files: readonly SourceFile[]): Complaints {
  return forEachImport(files, (file, room, _specifier, target) => {
    const to = target === undefined ? undefined : roomOf(target);
    if (to === undefined || to === room || room === WIRING || isTest(file.path)) return undefined;
    if (!FLOORS_WITH_DOORS.includes(floorOf(to)) || target === `cluster/src/${to}/${to}.ts` || DOORS_BESIDE.includes(target ?? ""))
      return undefined;
    return `the door of ${to} is ${to}/${to}.ts`;
  });
}

/** zod describes values and touches nothing, so it may stand even in core. */
const PURE_PACKAGE = "zod";
const CONTRACT_MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "contract/src/client/node-transport.ts": ["node:http", "node:https"],
};

/** Contract runs in browsers too and is installed by others; core is pure. */
export function checkPackages(files: readonly SourceFile[]): Complaints {
  return forEachImport(files, (file, room, specifier, target) => {
    if (target !== undefined || isTest(file.path) || specifier === PURE_PACKAGE) return undefined;
    if (room === "core") return "core imports contract and zod and nothing else";
    if (room !== "contract" || CONTRACT_MAY_IMPORT[file.path]?.includes(specifier)) return undefined;
    return "contract needs zod and nothing else";
  });
}

export function checkWords(files: readonly SourceFile[]): Complaints {
  return files.flatMap(({ path, text }) =>
    WORDS_BANNED.filter(({ under, pattern }) => path.startsWith(under) && !isTest(path) && pattern.test(withoutComments(text))).map(
      ({ pattern, why }) => `${path}: ${pattern.exec(withoutComments(text))?.[0]}: ${why}`,
    ),
  );
}

export function checkFiles(files: readonly SourceFile[]): Complaints {
  return files
    .filter(({ path }) => isCode(path))
    .flatMap(({ path, text }) => {
      const name = posix.basename(path);
      const complaints: Complaints = [];
      if (!/^[a-z0-9]+([-.][a-z0-9]+)*\.(ts|tsx|mjs)$/.test(name)) complaints.push(`${path}: not kebab-case`);
      if (name.split(/[-.]/).some((word) => NAMES_BANNED.includes(word))) complaints.push(`${path}: a name that says nothing`);
      if (text.split("\n").length - 1 > LINES_MAX) complaints.push(`${path}: more than ${LINES_MAX} lines`);
      if (/^export default\b/m.test(text) && !name.includes(".config.")) complaints.push(`${path}: a default export`);
      if (/^export\s+(type\s+)?(\*|\{[^}]*\})[^;]*\sfrom\s/m.test(text))
        complaints.push(`${path}: a barrel (it exports another file's names)`);
      if (/\b(?:TO[D]O\b(?!\(#\d+\))|FIX[M]E\b|X[X]X\b)/.test(text)) complaints.push(`${path}: a TO-DO without an issue's number`);
      if (!isTest(path) && !/^(#!.*\n)?\/\*\*/.test(text) && !name.includes(".config.")) complaints.push(`${path}: no header comment`);
      return complaints;
    });
}

/** `mirror` is the host that this machine fetches packages from, where it is not the public registry. */
export function checkTraces(files: readonly SourceFile[], mirror?: string): Complaints {
  return files.flatMap(({ path, text }) => {
    const complaints: Complaints = [];
    if (path.endsWith("package-lock.json") && /"resolved": "https?:/.test(text))
      complaints.push(`${path}: names a registry; npm install with omit-lockfile-registry-resolved`);
    if (/(^|[\s"'`(=:])\/wor[k]\//m.test(text)) complaints.push(`${path}: a path of somebody's machine`);
    if (mirror !== undefined && text.includes(mirror)) complaints.push(`${path}: the host of a package mirror`);
    return complaints;
  });
}
