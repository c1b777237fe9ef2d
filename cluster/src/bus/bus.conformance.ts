/** What every bus must do (B1–B7 of bus.ts); run by ram.test.ts and, on a real server, by tests/integration/nats.test.ts. */
import { isDeepStrictEqual } from "node:util";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { BODY_BYTES_MAX, type Bus, type Message, type Subscription } from "./bus.ts";
import { blobName, controlTo, heartbeatFrom, offersTo, outputOf, reportFrom } from "./subjects.ts";

export interface Bench {
  readonly coordinator: Bus;
  readonly worker: Bus;
  /** The worker's id. */
  readonly node: NodeId;
  close(): Promise<void>;
}

const WAIT = { timeout: 5_000, interval: 5 };
const TOO_LARGE = { text: "x".repeat(BODY_BYTES_MAX + 1) };

export function busConformance(name: string, open: () => Promise<Bench>): void {
  describe(`bus: ${name}`, () => {
    let bench: Bench | undefined;
    let coordinator: Bus;
    let worker: Bus;
    let node: NodeId;
    let tasks = 0;
    const nextTask = (): TaskId => `t${(tasks += 1)}` as TaskId;
    /** One round trip for each side: what was subscribed before is in force afterwards. */
    const settled = async (): Promise<void> => {
      await coordinator.getBlob(blobName(node, "t999" as TaskId, 1));
      await worker.append(outputOf(node, "t999" as TaskId, 1), "settled");
    };
    // A node may answer once: of two subscriptions for one message the second would find its answer refused.
    const collecting: Subscription[] = [];
    afterEach(() => {
      for (const subscription of collecting.splice(0)) subscription.stop();
    });
    const collect = (bus: Bus, pattern: string): Message[] => {
      const got: Message[] = [];
      collecting.push(bus.subscribe(pattern, (message) => got.push(message)));
      return got;
    };
    const readAll = async (subject: string): Promise<unknown[]> => {
      const pieces: unknown[] = [];
      for await (const { body } of coordinator.read(subject, { follow: false })) pieces.push(body);
      return pieces;
    };

    beforeAll(async () => {
      bench = await open();
      ({ coordinator, worker, node } = bench);
    });
    afterAll(() => bench?.close());

    test("both sides are connected", () => {
      expect([coordinator.connected, worker.connected]).toEqual([true, true]);
    });

    test("B1 a message that nobody wants is gone without a word", () => {
      expect(worker.publish(heartbeatFrom(node), { nobody: true })).toBeUndefined();
    });

    test("B3 messages arrive in the order in which one publisher sent them", async () => {
      const got = collect(worker, offersTo(node));
      await settled();
      for (let n = 0; n < 1_000; n += 1) coordinator.publish(offersTo(node), { n });
      await expect.poll(() => got.length, WAIT).toBe(1_000);
      expect(got.map(({ body }) => (body as { n: number }).n)).toEqual(Array.from({ length: 1_000 }, (_, n) => n));
      expect(got[0]).toMatchObject({ subject: offersTo(node) });
    });

    test("B5 bodies are JSON", async () => {
      const got = collect(worker, controlTo(node));
      await settled();
      const body = { words: "Grüße, 世界 🦞", list: [1, null, true], gone: undefined, at: new Date(0) };
      coordinator.publish(controlTo(node), body);
      coordinator.publish(controlTo(node), undefined);
      await expect.poll(() => got.length, WAIT).toBe(2);
      expect(got[0]?.body).toStrictEqual({ words: "Grüße, 世界 🦞", list: [1, null, true], at: "1970-01-01T00:00:00.000Z" });
      expect(got[1]?.body).toBeNull();
      expect(got[0]?.body).not.toBe(body);
    });

    test("patterns: * is one word, and a stopped subscription hears nothing", async () => {
      const every: string[] = [];
      const stopped: string[] = [];
      const all = coordinator.subscribe("ocx.up.*.heartbeat", ({ subject }) => every.push(subject));
      coordinator.subscribe(`ocx.up.${node}.heartbeat`, ({ subject }) => stopped.push(subject)).stop();
      await settled();
      worker.publish(heartbeatFrom(node), {});
      worker.publish(`ocx.up.${node}.heartbeat.more`, {});
      worker.publish(`ocx.up.${node}.other`, {});
      worker.publish(heartbeatFrom(node), {});
      await expect.poll(() => every.length, WAIT).toBe(2);
      all.stop();
      expect(every).toEqual([heartbeatFrom(node), heartbeatFrom(node)]);
      expect(stopped).toEqual([]);
    });

    test("B2 a request gets its own answer, also with many under way, and a second answer has no effect", async () => {
      const answering = coordinator.subscribe(reportFrom(node), ({ body, respond }) => {
        respond?.({ echo: body });
        respond?.({ echo: "again" });
      });
      await settled();
      const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => worker.request(reportFrom(node), { n }, 5_000)));
      expect(answers).toEqual(Array.from({ length: 200 }, (_, n) => ({ echo: { n } })));
      answering.stop();
    });

    test("B2 without an answer a request ends in bus_timeout, without a listener in bus_unreachable", async () => {
      const silent = coordinator.subscribe(reportFrom(node), () => undefined);
      await settled();
      await expect(worker.request(reportFrom(node), {}, 50)).rejects.toMatchObject({ code: "bus_timeout" });
      silent.stop();
      await settled();
      await expect(worker.request(reportFrom(node), {}, 5_000)).rejects.toMatchObject({ code: "bus_unreachable" });
    });

    test("B6 what is delivered arrives whole and gets its own answer, from a worker and to one, however large, and many at once", async () => {
      const bodyOf = (n: number): { n: number; text: string } => ({ n, text: "ü".repeat([0, 100, 20_000, 250_000, 500_000][n % 5]!) });
      const answering = [
        coordinator.subscribe(reportFrom(node), ({ body, respond }) => respond?.(body)),
        worker.subscribe(offersTo(node), ({ body, respond }) => respond?.(body)),
      ];
      await settled();
      const numbers = Array.from({ length: 15 }, (_, n) => n);
      const answers = await Promise.all([
        ...numbers.map((n) => worker.deliver(reportFrom(node), bodyOf(n), 5_000)),
        ...numbers.map((n) => coordinator.deliver(offersTo(node), bodyOf(n), 5_000)),
        worker.append(outputOf(node, nextTask(), 1), { text: "x".repeat(60_000) }),
      ]);
      expect(isDeepStrictEqual(answers.slice(0, 30), [...numbers, ...numbers].map(bodyOf))).toBe(true);
      for (const subscription of answering) subscription.stop();
    });

    test("B6 a delivery without an answer ends in bus_timeout, without a listener in bus_unreachable, also a large one", async () => {
      const silent = coordinator.subscribe(reportFrom(node), () => undefined);
      await settled();
      for (const text of ["", "x".repeat(300_000)])
        await expect(worker.deliver(reportFrom(node), { text }, 300)).rejects.toMatchObject({ code: "bus_timeout" });
      silent.stop();
      await settled();
      for (const text of ["", "x".repeat(300_000)])
        await expect(worker.deliver(reportFrom(node), { text }, 5_000)).rejects.toMatchObject({ code: "bus_unreachable" });
    });

    test("B4 what was appended is there to read, in order, by its subject", async () => {
      const [task, other] = [nextTask(), nextTask()];
      for (let n = 0; n < 5; n += 1) await worker.append(outputOf(node, task, 1), { n });
      await worker.append(outputOf(node, task, 2), { n: 5 });
      await worker.append(outputOf(node, other, 1), { n: "other" });
      expect(await readAll(outputOf(node, task, 1))).toEqual([0, 1, 2, 3, 4].map((n) => ({ n })));
      expect(await readAll(outputOf(node, task, 2))).toEqual([{ n: 5 }]);
      expect(await readAll(outputOf(node, nextTask(), 1))).toEqual([]);
    });

    test("of a node that nobody knows nothing is kept, and reading it ends at once", async () => {
      const stranger = "stranger" as NodeId;
      expect(await readAll(outputOf(stranger, nextTask(), 1))).toEqual([]);
      expect(await coordinator.getBlob(blobName(stranger, nextTask(), 1))).toBeUndefined();
    });

    test("a reader that follows gets what is kept, then what comes, and ends with its signal", async () => {
      const task = nextTask();
      await worker.append(outputOf(node, task, 1), { n: 0 });
      const end = new AbortController();
      const got: unknown[] = [];
      const reading = (async () => {
        for await (const { body } of coordinator.read(outputOf(node, task, 1), { follow: true, signal: end.signal })) got.push(body);
      })();
      await expect.poll(() => got.length, WAIT).toBe(1);
      for (let n = 1; n < 4; n += 1) await worker.append(outputOf(node, task, 1), { n });
      await expect.poll(() => got.length, WAIT).toBe(4);
      end.abort();
      await reading;
      expect(got).toEqual([0, 1, 2, 3].map((n) => ({ n })));
    });

    test("a reader that leaves in the middle ends the reading", async () => {
      const task = nextTask();
      for (let n = 0; n < 10; n += 1) await worker.append(outputOf(node, task, 1), { n });
      for await (const piece of coordinator.read(outputOf(node, task, 1), { follow: true })) {
        expect(piece).toEqual({ body: { n: 0 } });
        break;
      }
    });

    test("a body beyond the limit is refused where it is sent", async () => {
      expect(() => worker.publish(heartbeatFrom(node), TOO_LARGE)).toThrow(expect.objectContaining({ code: "payload_too_large" }));
      await expect(worker.request(reportFrom(node), TOO_LARGE, 1_000)).rejects.toMatchObject({ code: "payload_too_large" });
      await expect(worker.deliver(reportFrom(node), TOO_LARGE, 1_000)).rejects.toMatchObject({ code: "payload_too_large" });
      await expect(worker.append(outputOf(node, nextTask(), 1), TOO_LARGE)).rejects.toMatchObject({ code: "payload_too_large" });
      expect(worker.connected).toBe(true);
    });

    test("blobs come back as they were; an unknown one is undefined, a bad name refused", async () => {
      for (const size of [0, 1, 1_300_000]) {
        const bytes = Uint8Array.from({ length: size }, (_, i) => i % 251);
        const blob = blobName(node, nextTask(), 1);
        await worker.putBlob(blob, bytes);
        const back = await coordinator.getBlob(blob);
        expect(Buffer.compare(back ?? Buffer.from("none"), bytes)).toBe(0);
      }
      expect(await coordinator.getBlob(blobName(node, nextTask(), 1))).toBeUndefined();
      await expect(worker.putBlob(`${node}.>`, new Uint8Array(1))).rejects.toMatchObject({ code: "bad_request" });
      await expect(coordinator.getBlob("*.t1.1")).rejects.toMatchObject({ code: "bad_request" });
    });
  });
}
