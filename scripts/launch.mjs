/**
 * The first step of every npm script: `node scripts/launch.mjs <program.ts> [arguments]`. Makes sure that the packages
 * of package-lock.json are installed, then starts the program on a Node in range. Plain JavaScript without dependencies,
 * for Node 18 and newer, because it runs in a fresh clone. Its own words go to stderr: stdout is the program's.
 *
 * L1. A stamp in node_modules names the lock file and the platform it was installed for. When it fits, nothing is
 *     installed and the network is not touched. It is removed first and written last, so an interrupted install is seen.
 * L2. One launch installs at a time; others wait for it and then find the stamp. A dead installer's lock is cleared.
 * L3. No package's install script runs (docs/decisions/0001-set-up.md).
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { endLike, run, start } from "../cluster/bin/right-node.mjs";

/** A slow line may need minutes for the packages; whoever waits longer than this waits for nothing. */
const LOCK_WAIT_MS = 15 * 60_000;
const LOCK_POLL_MS = 250;
/** A lock without a readable owner is one that is being written, unless it is older than this. */
const LOCK_WRITE_MS = 10_000;

const root = fileURLToPath(new URL("..", import.meta.url));
const nodeModules = join(root, "node_modules");
const stamp = join(nodeModules, ".openclaw-cluster-stamp");
const hiddenLock = join(nodeModules, ".package-lock.json");
const cache = join(root, ".cache");
const lock = join(cache, "install", "lock");
const judging = join(cache, "install", "judging");

const say = (text) => process.stderr.write(`${text}\n`);

function wantedStamp() {
  const lockFile = readFileSync(join(root, "package-lock.json"));
  return `${createHash("sha256").update(lockFile).digest("hex")} ${process.platform}-${process.arch}\n`;
}

function isInstalled(wanted) {
  if (existsSync(stamp)) return readFileSync(stamp, "utf8") === wanted;
  return installedByHand();
}

/** Somebody ran `npm ci` or `npm install` without us. npm writes its own record of what it installed last of all. */
function installedByHand() {
  if (!existsSync(hiddenLock)) return false;
  const { packages: wanted } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  const { packages: present } = JSON.parse(readFileSync(hiddenLock, "utf8"));
  return Object.entries(wanted).every(
    ([path, entry]) =>
      path === "" || isForElsewhere(entry) || (present[path]?.version === entry.version && existsSync(join(root, path, "package.json"))),
  );
}

/** An optional package may be absent, unless it is made for this very platform: then it holds a program that we need. */
function isForElsewhere(entry) {
  return entry.optional && !(entry.os?.includes(process.platform) && entry.cpu?.includes(process.arch) && !entry.libc);
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** The lock names the launcher and its npm: while either lives, an install may be going on. */
function lockIsStale() {
  try {
    const pids = readFileSync(lock, "utf8")
      .split(" ")
      .map(Number)
      .filter((pid) => pid > 0);
    return pids.length > 0 ? !pids.some(isAlive) : Date.now() - statSync(lock).mtimeMs > LOCK_WRITE_MS;
  } catch {
    return false; // Released since we looked.
  }
}

/** Only one may judge at a time: two who both saw a dead owner would else remove each other's fresh lock. */
function clearStaleLock() {
  try {
    mkdirSync(judging);
  } catch {
    return;
  }
  try {
    if (lockIsStale()) rmSync(lock, { force: true });
  } finally {
    rmdirSync(judging);
  }
}

function takeLock() {
  try {
    writeFileSync(lock, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    return false;
  }
}

/** True: we hold the lock. False: waited in vain. */
async function waitForLock() {
  mkdirSync(join(cache, "install"), { recursive: true });
  const giveUpAt = Date.now() + LOCK_WAIT_MS;
  for (let told = false; !takeLock(); told = true) {
    if (Date.now() > giveUpAt) return false;
    clearStaleLock();
    if (!told && existsSync(lock)) say("Another launch is installing the packages; waiting for it.");
    await new Promise((wake) => setTimeout(wake, LOCK_POLL_MS));
  }
  return true;
}

/** npm ci deletes node_modules. Windows cannot delete a running program, but it can move it out of the way. */
function moveRunningNodeAside() {
  if (process.platform !== "win32" || !process.execPath.startsWith(nodeModules + sep)) return;
  for (const name of readdirSync(cache)) if (name.startsWith("moved-node-")) rmSync(join(cache, name), { force: true });
  renameSync(process.execPath, join(cache, `moved-node-${process.pid}.exe`));
}

function npmCommand() {
  const cli = process.env.npm_execpath;
  // Under `npm start` npm says where it and its Node are; that Node is not the one in the folder it is about to delete.
  if (cli && basename(cli).startsWith("npm-cli"))
    return { command: process.env.npm_node_execpath ?? process.execPath, first: [cli], shell: false };
  return { command: "npm", first: [], shell: process.platform === "win32" }; // npm.cmd starts only through a shell.
}

async function install(wanted) {
  say("Installing the packages of package-lock.json; only the first start needs the network.\n首次启动需要联网安装依赖,请稍候。");
  const startedAt = Date.now();
  rmSync(stamp, { force: true });
  rmSync(hiddenLock, { force: true });
  moveRunningNodeAside();
  const { command, first, shell } = npmCommand();
  // Said again although .npmrc says it too: the environment overrides that file, and NODE_ENV=production drops what tests need.
  const flags = [
    "--ignore-scripts",
    "--prefer-offline",
    "--include=dev",
    "--include=optional",
    "--no-audit",
    "--no-fund",
    "--engine-strict=false",
    "--loglevel=error",
  ];
  const options = { cwd: root, shell, stdio: ["inherit", process.stderr.fd, "inherit"] };
  const end = await run(command, [...first, "ci", ...flags], options, (pid) => writeFileSync(lock, `${process.pid} ${pid}`));
  if (end.code !== 0) return end;
  writeFileSync(stamp, wanted);
  say(`Packages installed in ${Math.round((Date.now() - startedAt) / 1000)} s.`);
  return end;
}

const NPM_HELP = `依赖安装失败:请检查网络、代理或 npm 镜像设置,然后重试。
What helps, most likely first:
  npm ping                                   is the registry reachable from here?
  npm config set proxy http://<host>:<port>  behind a proxy; or choose a nearer mirror: npm config set registry <url>
  npm cache clean --force                    after a download that broke off`;

/** Undefined: the packages are there. Otherwise the reason was told, and this is how to end. */
async function ensureInstalled() {
  const wanted = wantedStamp();
  if (isInstalled(wanted)) return undefined;
  if (!(await waitForLock())) {
    say(`Another launch has been installing for too long. If none is running, delete ${join(cache, "install")} and try again.`);
    return { code: 2, signal: null };
  }
  try {
    if (isInstalled(wanted)) return undefined;
    const end = await install(wanted);
    if (end.code === 0) return undefined;
    if (end.signal === null) say(`npm ci failed with exit code ${end.code}; its own message stands above.\n${NPM_HELP}`);
    return end;
  } catch (error) {
    say(
      error.code === "ENOENT"
        ? "npm was not found. Install it (Debian: apt install npm) or Node.js from https://nodejs.org."
        : `npm ci could not be started: ${error.message}`,
    );
    return { code: 2, signal: null };
  } finally {
    rmSync(lock, { force: true });
  }
}

const [program, ...args] = process.argv.slice(2);
if (program === undefined) {
  say("Usage: node scripts/launch.mjs <program.ts> [arguments]");
  process.exitCode = 2;
} else {
  const failed = await ensureInstalled();
  if (failed === undefined) await start(resolve(root, program), args);
  else endLike(failed);
}
