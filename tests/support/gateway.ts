/**
 * A real OpenClaw Gateway as a child process, with everything it writes in one folder, for integration tests and the
 * demonstration. Its only model is a scripted one (model-server.ts).
 *
 * G1. It touches nothing outside its folder but our cache of compiled code: not the user's own OpenClaw, not the system's
 *     temporary folder, no network beyond loopback.
 * G2. When `stop` or `kill` resolves, the Gateway and every helper process that it started are gone.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { dirname, join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { endTree } from "../../cluster/src/executors/process-tree.ts";
import { cacheFolder } from "../../cluster/src/system/folders.ts";

export interface GatewayOptions {
  /** Its own; made if missing. A second start on the same folder continues the first one's sessions. */
  readonly folder: string;
  readonly modelUrl: string;
  /** Its API key at the model server, which is the name in that server's records. */
  readonly name: string;
  readonly skills?: readonly { readonly name: string; readonly text: string }[];
  readonly port?: number;
  readonly token?: string;
  /** Of OpenClaw's own, in place of those that it would be given here, by their first name. */
  readonly settings?: object;
  /** Called with a sentence now and then while the Gateway starts. */
  readonly report?: (line: string) => void;
}

export interface RunningGateway {
  /** ws://127.0.0.1:port */
  readonly url: string;
  readonly token: string;
  readonly port: number;
  readonly pid: number;
  readonly logFile: string;
  /** Where OpenClaw keeps its settings and its state. */
  readonly state: string;
  /** Ends it in good order; what is not done by then is cut off. */
  stop(): Promise<void>;
  /** Ends it as a crash would, without a word to anybody. */
  kill(): Promise<void>;
}

/** 11 to 30 s on two busy cores; 95 s were seen on two overloaded ones. */
const READY_MS = 180_000;
const PROBE_MS = 250;
const REPORT_MS = 5_000;
/** An idle Gateway needs 3 s after SIGTERM. A busy one would wait up to 5 min for its turns. */
const STOP_MS = 15_000;
const LOG_TAIL_CHARS = 2_000;
/** Stands in the environment of the Gateway and its helpers, of which one has a process group of its own. */
const MARKER = "OPENCLAW_CLUSTER_GATEWAY";

export async function startGateway(options: GatewayOptions): Promise<RunningGateway> {
  const folder = resolve(options.folder);
  const port = options.port ?? (await freePort());
  const token = options.token ?? randomBytes(24).toString("base64url");
  const state = join(folder, "state");
  const logFile = join(folder, "gateway.log");
  for (const name of ["home", "tmp", "workspace"]) await mkdir(join(folder, name), { recursive: true });
  for (const skill of options.skills ?? []) {
    await mkdir(join(state, "skills", skill.name), { recursive: true });
    await writeFile(join(state, "skills", skill.name, "SKILL.md"), skill.text);
  }
  await mkdir(state, { recursive: true });
  await writeFile(join(state, "openclaw.json"), JSON.stringify(configuration(options, folder, port, token), null, 2), { mode: 0o600 });

  const child = launch(folder, state, logFile);
  // Should this process fail before it comes to `stop`: nobody else would end the Gateway.
  const lastResort = (): void => void child.kill("SIGKILL");
  process.once("exit", lastResort);
  const end = async (politeMs: number): Promise<void> => {
    process.removeListener("exit", lastResort);
    if (child.pid === undefined) return;
    const left = await endTree({ pid: child.pid, marker: `${MARKER}=${folder}` }, politeMs);
    if (left.length > 0) throw new Error(`Gateway ${options.name}: processes ${left.join(", ")} cannot be ended.`);
  };
  try {
    await untilReady(child, port, options, logFile);
  } catch (error) {
    await end(0);
    throw error;
  }
  return { url: `ws://127.0.0.1:${port}`, token, port, pid: child.pid!, logFile, state, stop: () => end(STOP_MS), kill: () => end(0) };
}

/** A few keys are all that a Gateway needs; no onboarding, and none of the requests to the network that are its default. */
function configuration(options: GatewayOptions, folder: string, port: number, token: string): object {
  const model = { id: "scripted-1", name: "Scripted", contextWindow: 128_000, maxTokens: 8_192 };
  return {
    gateway: { mode: "local", bind: "loopback", port, auth: { mode: "token", token }, controlUi: { enabled: false } },
    models: {
      mode: "replace",
      catalogRefresh: { enabled: false },
      providers: { scripted: { baseUrl: options.modelUrl, apiKey: options.name, api: "openai-completions", models: [model] } },
    },
    agents: {
      defaults: {
        workspace: join(folder, "workspace"),
        skipBootstrap: true,
        heartbeat: { every: "0m" },
        model: { primary: "scripted/scripted-1" },
      },
    },
    // Every tool direct, so that a scripted tool call needs no search first.
    tools: { toolSearch: false },
    plugins: { allow: ["memory-core"] },
    memory: { search: { provider: "none" } },
    skills: { allowBundled: [] },
    cron: { enabled: false },
    telemetry: { enabled: false },
    update: { checkOnStart: false },
    discovery: { mdns: { mode: "off" } },
    logging: { file: join(folder, "openclaw.log"), consoleStyle: "json" },
    ...options.settings,
  };
}

function launch(folder: string, state: string, logFile: string): ChildProcess {
  const entry = resolve(dirname(fileURLToPath(import.meta.resolve("openclaw"))), "..", "openclaw.mjs");
  const child = spawn(process.execPath, [entry, "gateway", "run"], {
    cwd: folder,
    // A session of its own, so that Ctrl-C on the terminal reaches us and not it, and `end` finds all of it.
    detached: process.platform !== "win32",
    windowsHide: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: process.env["PATH"],
      SystemRoot: process.env["SystemRoot"],
      HOME: join(folder, "home"),
      USERPROFILE: join(folder, "home"),
      // OpenClaw keeps locks and staging folders there, and leaves them.
      TMPDIR: join(folder, "tmp"),
      TEMP: join(folder, "tmp"),
      OPENCLAW_STATE_DIR: state,
      OPENCLAW_CONFIG_PATH: join(state, "openclaw.json"),
      OPENCLAW_DISABLE_BONJOUR: "1",
      OPENCLAW_NO_RESPAWN: "1",
      OPENCLAW_SKIP_CHANNELS: "1",
      OPENCLAW_EXEC_SHELL_SNAPSHOT: "0",
      OPENCLAW_NO_AUTO_UPDATE: "1",
      // OpenClaw's launcher would start itself again to set this, and its pid would not be the Gateway's.
      OPENCLAW_PACKAGED_COMPILE_CACHE_RESPAWNED: "1",
      NODE_COMPILE_CACHE: join(cacheFolder(process.env), "compiled"),
      [MARKER]: folder,
    },
  });
  const log = createWriteStream(logFile, { flags: "a" });
  child.stdout!.pipe(log, { end: false });
  child.stderr!.pipe(log, { end: false });
  child.once("close", () => log.end());
  return child;
}

async function untilReady(child: ChildProcess, port: number, options: GatewayOptions, logFile: string): Promise<void> {
  const startedAt = performance.now();
  const elapsed = (): number => performance.now() - startedAt;
  let ended: string | undefined;
  child.once("error", (error) => (ended = error.message));
  child.once("exit", (code, signal) => (ended = `it ended with ${signal ?? `exit code ${code}`}`));
  let reportAt = REPORT_MS;
  for (;;) {
    if (ended !== undefined) throw new Error(`Gateway ${options.name} did not start: ${ended}.\n${await tail(logFile)}`);
    if (await isReady(port)) return;
    if (elapsed() > READY_MS) throw new Error(`Gateway ${options.name} was not ready after ${READY_MS / 1000} s.\n${await tail(logFile)}`);
    if (elapsed() > reportAt) {
      options.report?.(`Gateway ${options.name} is starting (${Math.round(elapsed() / 1000)} s; usual are 10 to 30)`);
      reportAt += REPORT_MS;
    }
    await pause(PROBE_MS);
  }
}

async function isReady(port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/readyz`, { signal: AbortSignal.timeout(2_000) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    // Not listening yet.
    return false;
  }
}

async function tail(file: string): Promise<string> {
  const text = await readFile(file, "utf8").catch(() => "");
  return text.slice(-LOG_TAIL_CHARS);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening, failed) => {
    server.once("error", failed);
    server.listen(0, "127.0.0.1", listening);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}
