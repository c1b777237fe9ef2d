/**
 * `npm run bench -- --model-streams`: what the way through the cluster adds to a model's first token, on the node that has it and on
 * another one; how soon its server hears that nobody waits any more; and many streams side by side. Real daemons; the model server is
 * scripted, so that it costs next to nothing itself.
 */
import { readFile } from "node:fs/promises";
import { Agent, request, type IncomingMessage } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { startCluster, until, type TestDaemon } from "../../tests/support/daemon.ts";
import { startModelShape, type ModelShape } from "../../tests/support/model-shapes.ts";
import { nodeEndpoint } from "../../tests/support/node-endpoint.ts";
import { percentiles, type Percentiles } from "./percentiles.ts";

const ROUNDS = 300;
const WARM_ROUNDS = 50;
const ABORTS = 50;
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
    const places = { "same node": await nodeEndpoint(lender), "other node": await nodeEndpoint(asker) };
    const far = places["other node"];
    await until("the model at the other node", async () => ((await stream(far).catch(() => undefined)) ? true : undefined));
    const firsts = await firstTokens({ direct: { url: server.url, key: "none" }, ...places });
    Object.assign(server.settings, { mode: "endless", tokensPerSecond: rate });
    const aborts = await abortTimes(server, places);
    Object.assign(server.settings, { mode: "ok", words: Array.from({ length: seconds * rate }, (_, n) => ` w${n}`) });
    const many = await sideBySide(far, { streams, seconds, rate }, [cluster.lead, lender, asker]);
    if (values.json) console.log(JSON.stringify({ firsts, aborts, many }));
  } finally {
    await cluster.end();
    await server.stop();
  }
}

type Places = Readonly<Record<string, Place>>;
type Figures = Record<string, Percentiles>;

async function firstTokens(places: Places): Promise<Figures> {
  const figures: Figures = {};
  for (const [name, place] of Object.entries(places)) {
    for (let n = 0; n < WARM_ROUNDS; n += 1) await stream(place);
    const tookMs: number[] = [];
    for (let n = 0; n < ROUNDS; n += 1) tookMs.push((await stream(place)).firstMs);
    const { p50, p95 } = (figures[name] = percentiles(tookMs));
    tell(`first token, ${name}`, `p50 ${p50.toFixed(2)} ms, p95 ${p95.toFixed(2)} ms`);
    const direct = figures["direct"]?.p50 ?? 0;
    if (name !== "direct") tell(`added, ${name}`, `p50 ${(p50 - direct).toFixed(2)} ms`);
  }
  return figures;
}

/** From when a reader goes away until the model's server has heard of it. */
async function abortTimes(server: ModelShape, places: Places): Promise<Figures> {
  const figures: Figures = {};
  for (const [name, place] of Object.entries(places)) {
    const tookMs: number[] = [];
    for (let n = 0; n < ABORTS; n += 1) {
      const leftAt = await leave(place);
      tookMs.push((await until("the server to hear of it", () => server.questions.at(-1)?.closedAt)) - leftAt);
    }
    const { p50, max } = (figures[name] = percentiles(tookMs));
    tell(`an abort reaches the server, ${name}`, `p50 ${p50} ms, at most ${max} ms`);
  }
  return figures;
}

/** Beside one whose reader stands still. */
async function sideBySide(
  place: Place,
  { streams, seconds, rate }: { readonly streams: number; readonly seconds: number; readonly rate: number },
  daemons: readonly TestDaemon[],
): Promise<object> {
  const last = ` w${seconds * rate - 1}"`;
  const memory = await Promise.all(daemons.map(memoryOf));
  const beganAt = performance.now();
  const stalled = await stall(place);
  const all = await Promise.all(Array.from({ length: streams }, () => stream(place)));
  const tookS = (performance.now() - beganAt) / 1_000;
  const whole = all.filter(({ text }) => text.includes("[DONE]") && text.includes(last)).length;
  const after = await Promise.all(daemons.map(memoryOf));
  stalled();
  tell(
    `${streams} streams of ${rate} tokens/s for ${seconds} s`,
    `${whole} whole, in ${tookS.toFixed(1)} s, beside one whose reader stood still`,
  );
  tell("memory of coordinator, lender, asker", memory.map((mib, n) => `${mib} → ${after[n]} MiB`).join(", "));
  return { streams, whole, tookS, memory, after };
}

const agent = new Agent({ keepAlive: true, maxSockets: 2_048 });
const tell = (what: string, figure: string): void => console.error(`${what.padEnd(48)} ${figure}`);

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

/** Goes away with the first word; when that was. */
function leave(place: Place): Promise<number> {
  return new Promise((resolve, reject) =>
    open(
      place,
      (response) => {
        response.once("data", () => {
          const at = Date.now();
          response.destroy();
          resolve(at);
        });
      },
      reject,
    ),
  );
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
