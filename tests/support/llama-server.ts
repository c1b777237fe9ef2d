/**
 * A real llama-server (llama.cpp) for one test file, on the loopback, with a model made for tests (gguf-model.ts).
 *
 * S1. It is ended by its own id with SIGKILL: told to end, it would wait up to half a minute for open streams.
 * S2. Its kernel ends it with this process, however that ends, where there is setpriv.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { choosePort } from "../../cluster/src/system/free-port.ts";
import type { ModelOptions } from "./gguf-llama.ts";
import { modelFile } from "./gguf-model.ts";
import { findLlama, llamaEnvironment } from "./llama-program.ts";

export interface LlamaOptions {
  readonly model: ModelOptions;
  /** Of one slot; more than these a request cannot have, prompt and answer together. A multiple of 256. */
  readonly contextTokens: number;
  /** Requests that are answered at the same time; others wait. */
  readonly slots: number;
  /** Serve /v1/embeddings; chat is answered too, but a real one of this kind would have no sense. */
  readonly embeddings?: boolean;
  /** Without it everybody may ask. */
  readonly apiKey?: string;
  /** A free one unless given, as for one that comes back at its former place: first `stop` the one that was killed there. */
  readonly port?: number;
}

export interface LlamaServer {
  /** Without a path: /health, /v1/models, /v1/chat/completions and so on stand below it. */
  readonly url: string;
  readonly port: number;
  /** For signals: SIGKILL is a crash, SIGSTOP a server that hangs. */
  readonly pid: number;
  /** The name under which it serves the model. */
  readonly model: string;
  /** The end of what it has written. */
  readonly lastWords: string;
  stop(): Promise<void>;
}

const HOST = "127.0.0.1";
/** The small models are there in 0.2 s, the paced one in 0.3 s. */
const READY_MS_MAX = 30_000;
const POLL_MS = 10;
const WORDS_MAX = 4_096;
/** One core for it leaves the other to the test; the small models are no faster on two. */
const THREADS = 1;

/** Throws where `whyNoLlama` has a reason. */
export async function startLlamaServer(options: LlamaOptions): Promise<LlamaServer> {
  const llama = await findLlama();
  if (llama.kind === "missing") throw new Error(llama.reason);
  const { apiKey } = options;
  const { program } = llama;
  const port = await choosePort(HOST, options.port ?? 0, undefined, 0);
  const [file, ...argv] = [...withParent(), ...program.command, ...argumentsOf(options, port)] as [string, ...string[]];
  const env = { ...llamaEnvironment(program), ...(apiKey !== undefined && { LLAMA_API_KEY: apiKey }) };
  const child = spawn(file, argv, { env, stdio: ["ignore", "ignore", "pipe"] });
  let words = "";
  child.stderr.on("data", (chunk: Buffer) => (words = (words + chunk.toString("utf8")).slice(-WORDS_MAX)));
  child.once("error", (error) => (words += error.message));
  const url = `http://${HOST}:${port}`;
  try {
    await ready(child, url, () => words);
  } catch (error) {
    await kill(child);
    throw error;
  }
  return {
    url,
    port,
    pid: child.pid as number,
    model: options.model.name,
    get lastWords() {
      return words;
    },
    stop: () => kill(child),
  };
}

function argumentsOf({ model, contextTokens, slots, embeddings = false }: LlamaOptions, port: number): string[] {
  return [
    ...["--offline", "--no-webui", "--metrics", "--slots", "--host", HOST, "--port", String(port)],
    ...["--model", modelFile(model), "--alias", model.name, "--threads", String(THREADS)],
    // It divides what it is given among the slots.
    ...["--ctx-size", String(contextTokens * slots), "--parallel", String(slots)],
    // Its cache of prompts would grow to 8 GiB.
    ...["--cache-ram", "0"],
    ...(embeddings ? ["--embeddings", "--pooling", "mean"] : []),
  ];
}

/** What stands before a program that the kernel is to end with this process. BusyBox has a setpriv without this option. */
function withParent(): string[] {
  const wrap = ["setpriv", "--pdeathsig", "KILL", "--"];
  return spawnSync(wrap[0] as string, [...wrap.slice(1), "true"]).status === 0 ? wrap : [];
}

/** Refused at first, then 503 while the model is loaded. */
async function ready(child: ChildProcess, url: string, words: () => string): Promise<void> {
  const giveUpAt = performance.now() + READY_MS_MAX;
  for (;;) {
    if (child.pid === undefined || isOver(child)) throw new Error(`llama-server ended before it was ready:\n${words()}`);
    const status = await fetch(`${url}/health`, { signal: AbortSignal.timeout(READY_MS_MAX) }).then(
      async (response) => (await response.body?.cancel(), response.status),
      () => undefined,
    );
    if (status === 200) return;
    if (performance.now() > giveUpAt) throw new Error(`llama-server is not ready after ${READY_MS_MAX} ms:\n${words()}`);
    await delay(POLL_MS);
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || isOver(child)) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

const isOver = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;
