/**
 * The flooding process: submits single tasks at a fixed rate, whether the earlier ones are answered or not, over many
 * connections of its own, says `floods` when it begins, and prints what became of them as one JSON line. Raw sockets and prepared bytes, because a
 * real HTTP client would need more of the machine than the coordinator that it is to flood.
 *
 * L1. A request's time counts from the moment in which it was due, so a sender that comes late is no excuse.
 * L2. A connection's requests are answered in their order, so one connection carries several at once.
 */
import { readFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { parseArgs } from "node:util";
import { percentiles, type Percentiles } from "./percentiles.ts";

export interface Flooded {
  offered: number;
  admitted: number;
  refused: number;
  /** Neither 202 nor 429. */
  other: number;
  /** Not answered TIMEOUT_MS after the last was sent, or on a connection that broke. */
  unanswered: number;
  bySecond: { offered: number; admitted: number; refused: number }[];
  admittedMs: Percentiles;
  refusedMs: Percentiles;
  /** What the 429s said in Retry-After, and how often. */
  retryAfter: Record<string, number>;
  /** How late this process itself sent; large values mean that it was the bottleneck. */
  lateMs: Percentiles;
  cpuMs: number;
  /** Keys of the admitted tasks, ascending, as [first, count] runs. */
  keys: [number, number][];
}

/** An answer that takes longer than this was no answer. */
const TIMEOUT_MS = 10_000;
const TICK_MS = 2;
const PAYLOAD_BYTES = 256;

const { values } = parseArgs({
  options: {
    url: { type: "string" },
    "token-file": { type: "string" },
    rate: { type: "string" },
    seconds: { type: "string" },
    connections: { type: "string" },
  },
});
const rate = Number(values.rate);
const total = rate * Number(values.seconds);
const { host, hostname, port } = new URL(values.url as string);
const token = (await readFile(values["token-file"] as string, "utf8")).trim();
const body = JSON.stringify({ kind: "echo", input: { value: "x".repeat(PAYLOAD_BYTES) }, labels: { flood: "yes" } });
const REQUEST = Buffer.from(
  `POST /api/v1/tasks HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${token}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
);

/** A connection counts when the coordinator has answered on it: until then it waits in the kernel. */
const HELLO = `GET /healthz HTTP/1.1\r\nhost: ${host}\r\n\r\n`;

const seen: Flooded = {
  ...{ offered: 0, admitted: 0, refused: 0, other: 0, unanswered: 0, bySecond: [], retryAfter: {}, cpuMs: 0, keys: [] },
  ...{ admittedMs: percentiles([]), refusedMs: percentiles([]), lateMs: percentiles([]) },
};
const admittedMs: number[] = [];
const refusedMs: number[] = [];
const lateMs: number[] = [];
const keys: number[] = [];
let from = 0;

function second(dueMs: number): Flooded["bySecond"][number] {
  return (seen.bySecond[Math.floor((dueMs - from) / 1_000)] ??= { offered: 0, admitted: 0, refused: 0 });
}

function note(dueMs: number, head: string, answer: string): void {
  const tookMs = performance.now() - dueMs;
  const status = head.slice(9, 12);
  if (status === "202") {
    seen.admitted += 1;
    second(dueMs).admitted += 1;
    admittedMs.push(tookMs);
    if (tookMs > 1500)
      console.error(
        "slow",
        Math.round(dueMs - from),
        Math.round(tookMs),
        lanes.findIndex((l) => l.due[0] === dueMs),
      );
    keys.push(Number(/"id":"t(\d+)"/.exec(answer)?.[1]));
  } else if (status === "429") {
    seen.refused += 1;
    second(dueMs).refused += 1;
    refusedMs.push(tookMs);
    const after = /\nretry-after: (\d+)/i.exec(head)?.[1] ?? "none";
    seen.retryAfter[after] = (seen.retryAfter[after] ?? 0) + 1;
  } else {
    seen.other += 1;
  }
}

interface Lane {
  readonly socket: Socket;
  /** When each request that is under way was due. */
  readonly due: number[];
}

function openLane(): Promise<Lane> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    const lane: Lane = { socket, due: [] };
    let text = "";
    socket.setNoDelay(true).setEncoding("latin1");
    socket.once("connect", () => socket.write(HELLO)).once("error", reject);
    socket.once("data", () => {
      socket.on("data", (piece: string) => (text = answers(lane, text + piece)));
      resolve(lane);
    });
    // Its requests stay unanswered, and are counted so.
    socket.on("error", () => socket.destroy());
  });
}

/** Takes the whole answers off the front; gives the rest. */
function answers(lane: Lane, text: string): string {
  let at = 0;
  for (;;) {
    const headEnd = text.indexOf("\r\n\r\n", at);
    if (headEnd < 0) break;
    const head = text.slice(at, headEnd);
    const end = headEnd + 4 + Number(/\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
    if (text.length < end) break;
    note(lane.due.shift() ?? Number.NaN, head, text.slice(headEnd + 4, end));
    at = end;
  }
  return text.slice(at);
}

const lanes = await Promise.all(Array.from({ length: Number(values.connections) }, openLane));
process.stdout.write("floods\n");
const spentBefore = process.cpuUsage();
from = performance.now();
while (seen.offered < total) {
  const now = performance.now();
  const dueCount = Math.min(total, Math.floor(((now - from) * rate) / 1_000));
  for (; seen.offered < dueCount; seen.offered++) {
    const lane = lanes[seen.offered % lanes.length] as Lane;
    const dueMs = from + (seen.offered * 1_000) / rate;
    second(dueMs).offered += 1;
    lateMs.push(now - dueMs);
    lane.due.push(dueMs);
    lane.socket.write(REQUEST);
  }
  await new Promise((resolve) => setTimeout(resolve, TICK_MS));
}
const giveUpAt = performance.now() + TIMEOUT_MS;
const open = (): number => lanes.reduce((sum, { due }) => sum + due.length, 0);
while (open() > 0 && performance.now() < giveUpAt) await new Promise((resolve) => setTimeout(resolve, 10));
const { user, system } = process.cpuUsage(spentBefore);
seen.unanswered = open();
seen.cpuMs = (user + system) / 1_000;
seen.admittedMs = percentiles(admittedMs);
seen.refusedMs = percentiles(refusedMs);
seen.lateMs = percentiles(lateMs);
for (const key of keys.toSorted((a, b) => a - b)) {
  const last = seen.keys.at(-1);
  if (last !== undefined && last[0] + last[1] === key) last[1] += 1;
  else seen.keys.push([key, 1]);
}
process.stdout.write(`${JSON.stringify(seen)}\n`);
for (const { socket } of lanes) socket.destroy();
