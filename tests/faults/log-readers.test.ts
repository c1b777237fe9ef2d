/**
 * F37 for logs: readers of a task's output that stall on a real daemon, the command line among them. What waits for all of
 * them together is bounded, whoever is dropped is told, and each gets every byte when it reads again.
 */
import { readFile } from "node:fs/promises";
import { request, type IncomingMessage } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { SseReader, type ServerEvent } from "@openclaw-cluster/contract/client/sse";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { OutputChunk } from "@openclaw-cluster/contract/wire";
import { afterEach, describe, expect, test } from "vitest";
import { BACKLOG_BYTES_MAX } from "../../cluster/src/api/backlog.ts";
import { READ_AHEAD_PIECES } from "../../cluster/src/bus/bus.ts";
import { runCommand } from "../../scripts/daemon.ts";
import { startCluster, until, untilOver, type TestCluster } from "../support/daemon.ts";

/** NULs: six characters each in JSON. More for one reader than the kernel's buffers take, which were seen to hold 4.3 MB. */
const OUTPUT_BYTES = 1.5 * 1024 * 1024;
const SURPLUS = 12;
const LOOK_MS = 1_000;
const STALLED_MS_MAX = 90_000;
/** A busy machine prints small pieces now and then. */
const LOOKED_AT = 8;

let cluster: TestCluster | undefined;
const answers: IncomingMessage[] = [];
afterEach(async () => {
  for (const answer of answers.splice(0)) answer.destroy();
  await cluster?.end();
});

/** How much the kernel holds for whoever is connected to the port; it moves until everybody has stalled. */
async function queuedBytes(port: number): Promise<number> {
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = (await readFile("/proc/net/tcp", "utf8")).split("\n").map((row) => row.trim().split(/\s+/));
  return rows.reduce((sum, [, from, , , queues]) => (from?.endsWith(local) ? sum + parseInt(queues ?? "0", 16) : sum), 0);
}

interface Reader {
  resume(): void;
  /** The others are not kept: all readers together are sent gigabytes. */
  readonly last: ServerEvent | undefined;
  readonly over: boolean;
}

/** So many readers that hold a piece like the largest of these, and as many more as are read ahead, are all that may wait. */
function fitting(pieces: readonly OutputChunk[]): number {
  const chars = Math.max(...pieces.map((piece) => JSON.stringify(piece).length));
  return Math.floor(BACKLOG_BYTES_MAX / (chars * (1 + READ_AHEAD_PIECES)));
}

/** An open stream of a task's output that is not read until `resume`. */
function open(port: number, token: string, id: TaskId): Promise<Reader> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}` };
    const asked = request({ host: "127.0.0.1", port, path: `/api/v1/tasks/${id}/logs`, headers, agent: false }, (answer) => {
      answers.push(answer);
      let last: ServerEvent | undefined;
      const reader = new SseReader();
      let over = false;
      answer.setEncoding("utf8").pause();
      answer.on("close", () => (over = true));
      // Cut by the test's end.
      answer.on("error", () => (over = true));
      resolve({
        resume: () => answer.on("data", (piece: string) => (last = reader.push(piece).at(-1) ?? last)).resume(),
        get last() {
          return last;
        },
        get over() {
          return over;
        },
      });
    });
    asked.on("error", reject);
    asked.end();
  });
}

describe.skipIf(process.platform !== "linux")("readers of logs that stall (looks into /proc)", () => {
  test("hold no more than all slow readers may, are told when they are dropped, and miss nothing", async () => {
    cluster = await startCluster();
    const { client, url, token } = cluster;
    const port = Number(new URL(url).port);
    await cluster.addWorker("one", { policy: { allow: { commands: ["head -c * /dev/zero"] } } });
    const { id } = await client.submit({ kind: "command", input: { argv: ["head", "-c", String(OUTPUT_BYTES), "/dev/zero"] } });
    expect(await untilOver(cluster, id)).toMatchObject({ state: "succeeded" });

    // By the program of the project first, so that these are the slowest.
    const mine = client.logs(id, { follow: true })[Symbol.asyncIterator]();
    const got: OutputChunk[] = [];
    while (got.length < LOOKED_AT) got.push((await mine.next()).value as OutputChunk);
    const count = fitting(got) + SURPLUS;
    expect(count).toBeLessThan(LIMITS.streamsMax - 1);
    // Of all streams one user has a share only.
    const { token: other } = await client.makeToken({ name: "other", scope: "admin" });
    const typed = runCommand(["logs", id, "--follow"], { env: { OPENCLAW_CLUSTER_HOME: cluster.lead.home, OPENCLAW_CLUSTER_URL: url } });
    await typed.says(/\0/);
    // As Ctrl-Z does.
    process.kill(typed.pid, "SIGSTOP");
    const readers: Reader[] = [];
    // One after the other: so many at once would wait for nats-server, and be told so.
    for (let at = 0; at < count; at++) readers.push(await open(port, at % 2 === 0 ? token : other, id));
    let before = -1;
    await until(
      "everybody has stalled",
      async () => {
        await pause(LOOK_MS);
        const now = await queuedBytes(port);
        return now === before || ((before = now), undefined);
      },
      STALLED_MS_MAX,
    );

    for (const one of readers) one.resume();
    await until("everything that was sent is read", () => readers.every(({ over }) => over) || undefined);
    const last = readers.map((reader) => reader.last);
    const dropped = last.filter((event) => event?.name === "error");
    for (const event of dropped) expect(JSON.parse(event?.data ?? "")).toMatchObject({ code: "overloaded", retryable: true });
    expect(dropped.length).toBeGreaterThanOrEqual(SURPLUS);
    expect(dropped.length + last.filter((event) => event?.name === "end").length).toBe(readers.length);

    for (let next = await mine.next(); next.done !== true; next = await mine.next()) got.push(next.value);
    expect(got.map(({ n }) => n)).toEqual(got.map((_, at) => at));
    expect(got.map(({ text }) => text).join("").length).toBe(OUTPUT_BYTES);
    process.kill(typed.pid, "SIGCONT");
    expect(await typed.ended()).toMatchObject({ code: 0, stdout: "\0".repeat(OUTPUT_BYTES) });
  });
});
