/**
 * The house is tidy: the rules of tests/support/house-rules.ts hold in the whole tree. Each rule is also shown a planted
 * violation, and its harmless neighbour, so that a rule that has gone blind is noticed.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { describe, expect, it } from "vitest";
import { checkDoors, checkFiles, checkFloors, checkPackages, checkTraces, checkWords, type SourceFile } from "./support/house-rules.ts";

const ROOT = join(import.meta.dirname, "..");
const SKIPPED = new Set(["node_modules", ".git", ".cache", ".demo", "dist", "coverage"]);
const TEXT = /\.(ts|tsx|mjs|json|jsonc|md|ya?ml|txt|html|css)$|^\.npmrc$|^run$/;

function readTree(folder: string): SourceFile[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : readTree(path);
    if (!entry.isFile() || !TEXT.test(entry.name)) return [];
    return [{ path: relative(ROOT, path).split(sep).join("/"), text: readFileSync(path, "utf8") }];
  });
}

/** Set by npm when it runs the tests. */
const registry = process.env["npm_config_registry"];
const host = registry === undefined ? undefined : new URL(registry).host;
const mirror = host?.endsWith(".npmjs.org") === true ? undefined : host;

const RULES = { checkFloors, checkDoors, checkPackages, checkWords, checkFiles, checkTraces };
type RuleName = keyof typeof RULES;

const header = "/** A plant. */\n";
const imports = (...specifiers: string[]): string => header + specifiers.map((specifier) => `import { x } from "${specifier}";\n`).join("");
const room = (path: string): string => `cluster/src/${path}`;

/** What each rule must complain of, and the nearest thing it must let pass. */
const PLANTS: readonly (readonly [rule: RuleName, what: string, path: string, bad: string, good: string])[] = [
  ["checkFloors", "an import upward", room("store/x.ts"), imports("../coordinator/coordinator.ts"), imports("../core/task.ts")],
  ["checkFloors", "a neighbour", room("store/x.ts"), imports("../bus/bus.ts"), imports("./y.ts")],
  [
    "checkFloors",
    "a type import upward",
    room("core/x.ts"),
    `${header}import type {\n  X,\n} from "../store/store.ts";\n`,
    imports("./deep/y.ts"),
  ],
  [
    "checkFloors",
    "a dynamic import upward",
    room("core/x.ts"),
    `${header}await import("../cli/cli.ts");\n`,
    `${header}// import("../cli/cli.ts")\n`,
  ],
  [
    "checkFloors",
    "contract by its path",
    room("core/x.ts"),
    imports("../../../contract/src/ids.ts"),
    imports("@openclaw-cluster/contract/ids"),
  ],
  ["checkFloors", "the machine that knows of keys", room("system/x.ts"), imports("../trust/keys.ts"), imports("./folders.ts")],
  ["checkFloors", "trust that knows of the store", room("trust/x.ts"), imports("../store/store.ts"), imports("../system/key-file.ts")],
  ["checkFloors", "a way out of the house", room("core/x.ts"), imports("../../../tests/support/y.ts"), imports("./y.ts")],
  ["checkFloors", "a test that climbs", room("store/x.test.ts"), imports("../worker/worker.ts"), imports("../../../tests/support/y.ts")],
  ["checkFloors", "a room on no floor", room("attic/x.ts"), header, ""],
  [
    "checkDoors",
    "a side door",
    room("coordinator/x.ts"),
    imports("../store/sqlite.ts"),
    imports("../store/store.ts", "../bus/subjects.ts", "../trust/keys.ts"),
  ],
  ["checkDoors", "a side door into a role", room("cli/x.ts"), imports("../worker/spool.ts"), imports("../compose/anything.ts")],
  ["checkPackages", "a package in contract", "contract/src/x.ts", imports("hono"), imports("zod")],
  ["checkPackages", "node in contract", "contract/src/client/x.ts", imports("node:http"), imports("./y.ts")],
  [
    "checkPackages",
    "more than http in the transport",
    "contract/src/client/node-transport.ts",
    imports("node:fs"),
    imports("node:http", "node:https"),
  ],
  ["checkPackages", "a package in core", room("core/x.ts"), imports("pino"), imports("zod", "@openclaw-cluster/contract/ids")],
  ["checkWords", "a clock in core", room("core/x.ts"), "const now = Date.now();", "const at = now; // Not Date.now()."],
  ["checkWords", "chance in core", room("core/x.ts"), "Math.random()", "random()"],
  ["checkWords", "a timer in core", room("core/x.ts"), "setTimeout(f, 1)", "soon(f)"],
  ["checkWords", "the process in core", room("core/x.ts"), "process.env", "const processed = 1"],
  ["checkWords", "node: in core", room("core/x.ts"), 'import "node:fs";', "const placed = { node: id };"],
  ["checkWords", "a main guard in a script", "scripts/x.ts", "if (import.meta.main) run();", "import.meta.dirname"],
  ["checkFiles", "a long file", room("core/x.ts"), header + "\n".repeat(400), header + "\n".repeat(399)],
  ["checkFiles", "a camelCase name", room("core/taskTable.ts"), header, ""],
  ["checkFiles", "a name that says nothing", room("core/task-utils.ts"), header, ""],
  ["checkFiles", "a default export", room("core/x.ts"), `${header}export default 1;\n`, `${header}export const x = 1;\n`],
  ["checkFiles", "a barrel", room("core/x.ts"), `${header}export * from "./y.ts";\n`, `${header}export { x };\n`],
  [
    "checkFiles",
    "a barrel of types",
    room("core/x.ts"),
    `${header}export type {\n  X,\n} from "./y.ts";\n`,
    `${header}export type { X };\n`,
  ],
  ["checkFiles", "a TO-DO without a number", room("core/x.ts"), `${header}// TO${"DO"}: later`, `${header}// TO${"DO"}(#12): later`],
  ["checkFiles", "no header", room("core/x.ts"), "const x = 1;\n", header],
  [
    "checkTraces",
    "a registry in the lock file",
    "package-lock.json",
    '"resolved": "https://mirror.example/x.tgz"',
    '"resolved": "contract"',
  ],
  ["checkTraces", "a machine's path", "docs/x.md", `see /wor${"k"}/main`, `see ./wor${"k"}/main or framework/x`],
];

describe("house rules bite", () => {
  it.each(PLANTS)("%s finds %s", (rule, _what, path, bad, good) => {
    expect(RULES[rule]([{ path, text: bad }])).toHaveLength(1);
    const harmless = good === "" ? [] : [{ path, text: good }];
    expect(RULES[rule](harmless)).toEqual([]);
  });

  it("checkDoors lets compose and tests choose", () => {
    const choice = imports("../store/sqlite.ts");
    expect(
      checkDoors([
        { path: room("compose/x.ts"), text: choice },
        { path: room("coordinator/x.test.ts"), text: choice },
      ]),
    ).toEqual([]);
  });

  it("checkTraces finds the mirror's host", () => {
    expect(checkTraces([{ path: "a.md", text: "get it from mirror.example/x" }], "mirror.example")).toHaveLength(1);
  });
});

describe("the tree keeps the house rules", () => {
  const tree = readTree(ROOT);

  it.each(Object.entries(RULES))("%s", (_name, check) => {
    expect(check(tree, mirror)).toEqual([]);
  });

  it("has read the tree", () => {
    expect(tree.length).toBeGreaterThan(30);
    expect(tree.map(({ path }) => path)).toContain("cluster/src/core/task.ts");
  });
});
