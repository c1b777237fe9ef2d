/**
 * A tiny project with the real launcher and an npm that only pretends: it writes down that it was called, waits where it
 * is told to, and leaves a node_modules behind. So every way an install can go is seen without a network.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const ROOT = join(import.meta.dirname, "../..");

/** Waits while the file `hold` is there, then installs, or fails with the exit code in the file `fail`. */
const FAKE_NPM = `
const { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } = require("node:fs");
appendFileSync("calls", process.argv.slice(2).join(" ") + "\\n");
console.log("added 1 package");
(function step() {
  if (existsSync("hold")) return setTimeout(step, 20);
  if (existsSync("fail")) process.exit(Number(readFileSync("fail", "utf8")));
  mkdirSync("node_modules/some-package", { recursive: true });
  writeFileSync("node_modules/some-package/package.json", "{}");
  writeFileSync("node_modules/.package-lock.json", readFileSync("package-lock.json"));
})();
`;

/** Says what it was given, and ends with the exit code 7, at once or when it is told to by SIGTERM. */
const PROGRAM = `
process.exitCode = 7;
if (process.argv[2] === "stay") {
  const stay = setInterval(() => {}, 1e6);
  process.once("SIGTERM", () => { console.log("SIGTERM"); clearInterval(stay); });
}
console.log(JSON.stringify({ args: process.argv.slice(2), node: process.execPath, pid: process.pid }));
`;

export interface Launched {
  readonly child: ChildProcess;
  stdout(): string;
  stderr(): string;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

export class LaunchGround {
  readonly folder = mkdtempSync(join(tmpdir(), "launch-"));

  constructor() {
    for (const file of ["scripts/launch.mjs", "cluster/bin/right-node.mjs"]) cpSync(join(ROOT, file), this.at(file));
    writeFileSync(this.at("npm-cli.js"), FAKE_NPM);
    writeFileSync(this.at("program.mjs"), PROGRAM);
    this.lock("1.0.0");
  }

  at(...path: string[]): string {
    return join(this.folder, ...path);
  }

  lock(version: string): void {
    const packages = { "": {}, "node_modules/some-package": { version } };
    writeFileSync(this.at("package-lock.json"), JSON.stringify({ packages }));
  }

  /** How often npm was called. */
  calls(): number {
    return existsSync(this.at("calls")) ? readFileSync(this.at("calls"), "utf8").trim().split("\n").length : 0;
  }

  touch(name: string, text = ""): void {
    writeFileSync(this.at(name), text);
  }

  remove(...path: string[]): void {
    rmSync(this.at(...path), { recursive: true, force: true });
  }

  /** Makes the launcher believe that it runs on an older Node, or on a platform of another name. */
  pretend(what: { version?: string; platform?: string }): string[] {
    const lines = [
      what.version && `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "${what.version}" } });`,
      what.platform && `Object.defineProperty(process, "platform", { value: "${what.platform}" });`,
    ];
    writeFileSync(this.at("pretend.mjs"), lines.filter(Boolean).join("\n"));
    return ["--import", pathToFileURL(this.at("pretend.mjs")).href];
  }

  /** Stands in for the packaged Node: this test's own. */
  bundleNode(packageName: string): void {
    mkdirSync(this.at("node_modules", packageName, "bin"), { recursive: true });
    writeFileSync(this.at("node_modules", packageName, "package.json"), "{}");
    symlinkSync(process.execPath, this.at("node_modules", packageName, "bin/node"));
  }

  launch(args: readonly string[] = [], nodeArgs: readonly string[] = []): Launched {
    const child = spawn(process.execPath, [...nodeArgs, this.at("scripts/launch.mjs"), "program.mjs", ...args], {
      cwd: this.folder,
      env: { ...process.env, npm_execpath: this.at("npm-cli.js"), npm_node_execpath: process.execPath },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const said = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => (said.stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said.stderr += text));
    const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => resolve({ code, signal }));
    });
    return { child, stdout: () => said.stdout, stderr: () => said.stderr, ended };
  }
}
