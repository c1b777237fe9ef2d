/**
 * `npm run bench -- --model-streams`: what the way through the cluster adds to a model's first token, on the node that has it and on
 * another one; and many streams side by side. Real daemons; the model server is scripted, so that it costs next to nothing itself.
 */
import { readFile } from "node:fs/promises";
import { Agent, request, type IncomingMessage } from "node:http";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { startCluster, until, type TestDaemon } from "../../tests/support/daemon.ts";
import { startModelShape } from "../../tests/support/model-shapes.ts";

const ROUNDS = 300;
const WARM_ROUNDS = 50;
const MODEL = "bench";
/** Some 33 KB, as OpenClaw's system prompt. */
const PROMPT = "You are an agent of this machine. ".repeat(1_000);

interface Place {
  readonly url: string;
  readonly key: string;
}

interface Streamed {
  readonly firstMs: number;
  readonly text: string;
}

export async function benchModelStreams(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      streams: { type: "string", default: "200" },
      seconds: { type: "string", default: "60" },
      rate: { type: "string", default: "50" },
      json: { type: "boolean", default: false },
    },
  });
  const [streams, seconds, rate] = [Number(values.streams), Number(values.seconds), Number(values.rate)];
  const server = await startModelShape("llamacpp", {
    models: [{ id: MODEL, contextTokens: 65_536, trainedTokens: 65_536 }],
    slots: 256,
    words: ["one"],
  });
  const cluster = await startCluster();
  try {
    const lender = await cluster.addWorker("lender", { models: { endpoints: [{ name: "bench", url: server.url }] } });
    const asker = await cluster.addWorker("asker", {});
    const [near, far] = [await placeOf(lender), await placeOf(asker)];
    const direct = { url: server.url, key: "none" };
    await until("the model at the other node", async () => ((await stream(far).catch(() => undefined)) ? true : undefined));
    const figures: Record<string, number> = {};
    for (const [name, place] of [
      ["direct", direct],
      ["same node", near],
      ["other node", far],
    ] as const) {
      for (let n = 0; n < WARM_ROUNDS; n += 1) await stream(place);
      const firsts: number[] = [];
      for (let n = 0; n < ROUNDS; n += 1) firsts.push((await stream(place)).firstMs);
      firsts.sort((a, b) => a - b);
      figures[`${name} p50`] = firsts[ROUNDS >> 1] as number;
      figures[`${name} p95`] = firsts[Math.floor(ROUNDS * 0.95)] as number;
    }
    for (const [name, ms] of Object.entries(figures)) tell(`first token, ${name}`, `${ms.toFixed(2)} ms`);
    tell("added on the same node, p50", `${((figures["same node p50"] ?? 0) - (figures["direct p50"] ?? 0)).toFixed(2)} ms`);
    tell("added on another node, p50", `${((figures["other node p50"] ?? 0) - (figures["direct p50"] ?? 0)).toFixed(2)} ms`);

    const words = Array.from({ length: seconds * rate }, (_, n) => ` w${n}`);
    Object.assign(server.settings, { words, tokensPerSecond: rate });
    const memory = [await memoryOf(cluster.lead), await memoryOf(lender), await memoryOf(asker)];
    const beganAt = performance.now();
    const stalled = stall(far);
    const all = await Promise.all(Array.from({ length: streams }, () => stream(far)));
    const tookS = (performance.now() - beganAt) / 1_000;
    const whole = all.filter(({ text }) => text.includes("[DONE]") && text.includes(` w${words.length - 1}"`)).length;
    const after = [await memoryOf(cluster.lead), await memoryOf(lender), await memoryOf(asker)];
    (await stalled)();
    tell(
      `${streams} streams of ${rate} tokens/s for ${seconds} s`,
      `${whole} whole, in ${tookS.toFixed(1)} s, beside one whose reader stood still`,
    );
    tell("memory of coordinator, lender, asker", memory.map((mib, n) => `${mib} → ${after[n]} MiB`).join(", "));
    if (values.json) console.log(JSON.stringify({ figures, streams, whole, tookS, memory, after }));
  } finally {
    await cluster.end();
    await server.stop();
  }
}

const agent = new Agent({ keepAlive: true, maxSockets: 2_048 });
const tell = (what: string, figure: string): void => console.error(`${what.padEnd(48)} ${figure}`);

async function placeOf({ home }: TestDaemon): Promise<Place> {
  const port = (await readFile(path.join(home, "data", "models.port"), "utf8")).trim();
  return { url: `http://127.0.0.1:${port}`, key: (await readFile(path.join(home, "models.key"), "utf8")).trim() };
}

function open({ url, key }: Place, heard: (response: IncomingMessage) => void, failed: (error: Error) => void): void {
  const body = JSON.stringify({
    model: MODEL,
    stream: true,
    messages: [
      { role: "system", content: PROMPT },
      { role: "user", content: "hello" },
    ],
  });
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  const asking = request(`${url}/v1/chat/completions`, { method: "POST", agent, headers }, heard);
  asking.on("error", failed);
  asking.end(body);
}

function stream(place: Place): Promise<Streamed> {
  const beganAt = performance.now();
  return new Promise((resolve, reject) => {
    open(
      place,
      (response) => {
        let firstMs = Number.NaN;
        let text = "";
        response.on("data", (chunk: Buffer) => {
          if (Number.isNaN(firstMs)) firstMs = performance.now() - beganAt;
          text = (text + chunk.toString("latin1")).slice(-4_096);
        });
        response.on("end", () =>
          response.statusCode === 200 ? resolve({ firstMs, text }) : reject(new Error(`${response.statusCode}: ${text}`)),
        );
        response.on("error", reject);
      },
      reject,
    );
  });
}

/** Reads nothing; gives how to end it. */
function stall(place: Place): Promise<() => void> {
  return new Promise((resolve, reject) => open(place, (response) => resolve(() => void response.destroy()), reject));
}

async function memoryOf({ pid }: TestDaemon): Promise<number> {
  await pause(0);
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1_024);
}
