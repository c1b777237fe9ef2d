/**
 * A node that was taken over, on a host of its own and with its own valid key, against the real coordinator, the real nats-server
 * and an honest neighbour. Whatever it tries on others is refused and noted; it can only hurt itself. What the server refuses to
 * any node's key, subject by subject: tests/integration/nats-rights.test.ts; what becomes of what others keep on the bus:
 * nats-shares.test.ts beside it.
 */
import { readFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { fromSeed } from "@nats-io/nkeys";
import { connect, nkeyAuthenticator, type NatsConnection } from "@nats-io/transport-node";
import { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Finished, Heartbeat, Offer, Offers, OutputChunk, Report, ReportReply } from "@openclaw-cluster/contract/wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Bus } from "../../cluster/src/bus/bus.ts";
import type { Envelopes } from "../../cluster/src/bus/envelope-door.ts";
import { openEnvelopes } from "../../cluster/src/bus/envelopes.ts";
import { connectNats } from "../../cluster/src/bus/nats.ts";
import { blobName, COORDINATOR, heartbeatFrom, offersTo, outputOf, reportFrom } from "../../cluster/src/bus/subjects.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { until, untilOver, untilState } from "../support/daemon.ts";
import { NATS_PORT, openFourHosts, type FourHosts } from "../support/four-hosts.ts";
import { whyNoHosts } from "../support/hosts.ts";
import { factsOf } from "../support/ram-cluster.ts";

const whyNot = whyNoHosts();
const [HONEST, EVIL] = [NodeId.parse("nas1"), NodeId.parse("nas2")];
const ASK_MS = 5_000;
const LONG_MS = 600_000;
const BEAT_MS = 1_000;

const echo = (node: NodeId, delayMs?: number): TaskSpec => ({
  kind: "echo",
  input: { value: "honest", ...(delayMs !== undefined && { delayMs }) },
  require: { nodes: [node] },
});

describe.skipIf(whyNot !== undefined)(`a hostile worker${whyNot === undefined ? "" : ` (skipped: ${whyNot})`}`, () => {
  let stage: FourHosts;
  /** With the product's own client, for what it may say under its own name, */
  let bus: Bus;
  /** and with a bare one, for the rest. */
  let raw: NatsConnection;
  let seed: Uint8Array;
  let envelopes: Envelopes;
  let door: number;
  let said = 0;
  let beating: NodeJS.Timeout;
  const offers: Offer[] = [];

  beforeAll(async () => {
    stage = await openFourHosts();
    await stage.join("nas1");
    // It has joined as everybody does; its daemon never runs.
    const evil = await stage.join("nas2");
    await evil.stop();
    seed = await readFile(`${stage.home("nas2")}/node.seed`);
    door = await stage.nas2.reach({ host: stage.listensOn, port: NATS_PORT });
    const coordinatorKey = (await readFile(`${stage.home("nas2")}/coordinator.key`, "utf8")).trim();
    envelopes = openEnvelopes({ self: EVIL, seed, keyOf: (party) => (party === COORDINATOR ? coordinatorKey : undefined) });
    bus = await connectNats({ urls: [`nats://127.0.0.1:${door}`], node: EVIL, seed, envelopes, log: silentLog });
    raw = await connect({ servers: `127.0.0.1:${door}`, authenticator: nkeyAuthenticator(seed), inboxPrefix: "_INBOX_nas2" });
    bus.subscribe(offersTo(EVIL), ({ body, respond }) => {
      offers.push(...(body as Offers).offers);
      respond?.({});
    });
    beating = setInterval(() => beat(), BEAT_MS);
    beat();
    await until("it passes for a node", async () => (await stage.client.node({ id: EVIL })).state === "ready" || undefined);
  });
  afterAll(async () => {
    clearInterval(beating);
    await bus?.close();
    await raw?.close();
    await stage?.end();
  });

  /** Higher than any life that its daemon had. */
  const own = () => ({ boot: 1_000, n: ++said });
  function beat(more: Partial<Heartbeat> = {}): void {
    const load = { cpu: 0, memoryFreeMiB: 1_000, diskFreeMiB: 9_000, running: 0, held: 0 };
    const held = offers.map(({ task, attempt, epoch }) => ({ task, attempt, epoch }));
    bus.publish(heartbeatFrom(EVIL), { node: EVIL, ...own(), load, facts: factsOf(), held, ...more } satisfies Heartbeat);
  }
  const report = async (more: Partial<Report>): Promise<ReportReply> =>
    (await bus.request(reportFrom(EVIL), { ...own(), started: [], progressed: [], finished: [], ...more }, ASK_MS)) as ReportReply;
  const end = (ref: Pick<Finished, "task" | "attempt" | "epoch">, outcome: Finished["outcome"]): Finished => ({
    ...{ task: ref.task, attempt: ref.attempt, epoch: ref.epoch, endedAt: 1, runMs: 1 },
    outcome,
  });
  const FORGED = { kind: "succeeded", result: "forged" } as const;

  /** A task that runs on the honest node, by its attempt as the coordinator knows it. */
  async function others(delayMs = LONG_MS): Promise<{ task: TaskId; attempt: number; epoch: number }> {
    const { id } = await stage.client.submit(echo(HONEST, delayMs));
    await untilState(stage, id, "running");
    const [attempt] = (await stage.client.attempts({ id })).attempts;
    return { task: id, attempt: attempt?.n ?? 0, epoch: attempt?.epoch ?? 0 };
  }
  /** A task that was given to it. */
  async function given(): Promise<Offer> {
    const { id } = await stage.client.submit(echo(EVIL));
    return until(`the offer of ${id}`, () => offers.find(({ task }) => task === id));
  }

  const noted = (what: string): Promise<string> =>
    until(`the audit log says: ${what}`, async () => {
      const { entries } = await stage.client.audit({ limit: 500 });
      return entries.find(({ actor, action, object }) => actor === "node nas2" && action === "node.trespassed" && object.includes(what))
        ?.object;
    });
  const expectHonestWorks = async (): Promise<void> => {
    const { id } = await stage.client.submit(echo(HONEST));
    expect(await untilOver(stage, id)).toMatchObject({ state: "succeeded", node: HONEST, result: "honest", attempt: 1 });
  };

  test("reads nothing of others, while they are given work", async () => {
    const heard: string[] = [];
    const patterns = [">", offersTo(HONEST), `_INBOX_${HONEST}.>`, "_INBOX_COORDINATOR.>", "ocx.blob.>", "ocx.out.>"];
    for (const pattern of patterns)
      raw.subscribe(pattern, { callback: (error, { subject }) => void (error === null && heard.push(subject)) });
    await raw.flush();
    await expectHonestWorks();
    await raw.flush();
    expect(heard).toEqual([]);
    await noted("wanted to listen to >");
  });

  test("speaks as nobody else: not with another's subject, nor with another's name in its own", async () => {
    raw.publish(heartbeatFrom(HONEST), JSON.stringify({ node: HONEST, boot: 9, n: 9, load: {}, held: [], goodbye: "offline" }));
    await noted(`wanted to publish ${heartbeatFrom(HONEST)}`);
    beat({ node: HONEST, goodbye: "offline" });
    await noted(`sent a heartbeat as ${HONEST}`);
    expect(await stage.client.node({ id: HONEST })).toMatchObject({ state: "ready" });
    await expectHonestWorks();
  });

  test("ends no attempt of another, however well it guesses, nor starts or moves it on", async () => {
    const ref = await others();
    const guesses = [ref, { ...ref, attempt: ref.attempt + 1 }, { ...ref, epoch: ref.epoch - 1 }, { ...ref, epoch: ref.epoch + 1 }];
    const { verdicts } = await report({ finished: guesses.filter(({ epoch }) => epoch > 0).map((one) => end(one, FORGED)) });
    expect(new Set(verdicts)).toEqual(new Set(["stale"]));
    await report({ progressed: [{ ...ref, progress: { text: "forged" } }], started: [{ ...ref, at: 1 }] });
    const task = await stage.client.getTask({ id: ref.task });
    expect(task).toMatchObject({ state: "running", node: HONEST, attempt: ref.attempt });
    expect(task.progress).toBeUndefined();
    await noted(`spoke for an attempt of ${ref.task} that another node holds`);
    await stage.client.cancel({ id: ref.task });
  });

  test("an end of a task that never was, or of its own under another term, counts for nothing", async () => {
    const offer = await given();
    const never = { ...offer, task: TaskId.parse("t999999") };
    const ends = [end({ ...offer, epoch: offer.epoch + 1 }, FORGED), end({ ...offer, attempt: 7 }, FORGED), end(never, FORGED)];
    expect((await report({ finished: ends })).verdicts).toEqual(["stale", "stale", "unknown"]);
    expect((await report({ finished: [end(offer, { kind: "succeeded", result: "its own" })] })).verdicts).toEqual(["accepted"]);
    expect(await untilOver(stage, offer.task)).toMatchObject({ result: "its own" });
  });

  test("a replay counts once: of a report, of a heartbeat that was overtaken, and of what was recorded", async () => {
    const offer = await given();
    const body = { ...own(), started: [], progressed: [], finished: [end(offer, { kind: "succeeded", result: 1 })] };
    const answers = [];
    for (let n = 0; n < 3; n += 1) answers.push(((await bus.request(reportFrom(EVIL), body, ASK_MS)) as ReportReply).verdicts[0]);
    expect(answers).toEqual(["accepted", "stale", "stale"]);
    const { succeeded } = await stage.client.node({ id: EVIL });
    expect(succeeded).toBe(2);
    const old = { node: EVIL, boot: 1_000, n: 1, load: { cpu: 0, memoryFreeMiB: 1, diskFreeMiB: 1, running: 0, held: 0 }, held: [] };
    bus.publish(heartbeatFrom(EVIL), { ...old, goodbye: "offline" });
    await report({});
    // The very bytes, twice; and without a seal.
    const recorded = envelopes.seal(heartbeatFrom(EVIL), Buffer.from(JSON.stringify({ ...old, n: (said += 1), boot: 1_000 }))).bytes;
    for (const bytes of [recorded, recorded, Buffer.from(JSON.stringify({ ...old, goodbye: "offline" }))])
      raw.publish(heartbeatFrom(EVIL), bytes);
    await noted("sent a message a second time");
    await noted("sent a message without a seal");
    expect(await stage.client.node({ id: EVIL })).toMatchObject({ state: "ready" });
  });

  test("no answer goes to others for it: not the coordinator's, and not a stream's as an order", async () => {
    const ref = await others();
    raw.publish(reportFrom(EVIL), JSON.stringify({ ...own(), started: [], progressed: [], finished: [end(ref, FORGED)] }), {
      reply: offersTo(HONEST),
    });
    await noted("wanted an answer sent to somebody else");
    for (const subject of [offersTo(HONEST), `ocx.down.${HONEST}.control`])
      raw.publish(outputOf(EVIL, ref.task, 1), '{"kind":"shutdown","epoch":99}', { reply: subject });
    await raw.flush();
    await expectHonestWorks();
    expect(await stage.client.getTask({ id: ref.task })).toMatchObject({ state: "running", attempt: ref.attempt });
    await stage.client.cancel({ id: ref.task });
  });

  test("nothing that it writes passes for another's output, nor ends it", async () => {
    const ref = await others();
    const chunk = (n: number, more: Partial<OutputChunk> = {}): OutputChunk => ({
      ...{ task: ref.task, attempt: ref.attempt, n, at: 1, stream: "stdout", text: "forged\n" },
      ...more,
    });
    await bus.append(outputOf(EVIL, ref.task, ref.attempt), chunk(0));
    await bus.append(outputOf(EVIL, ref.task, ref.attempt), chunk(1, { last: true }));
    await bus.append(outputOf(EVIL, ref.task, ref.attempt + 1), chunk(2, { attempt: ref.attempt + 1 }));
    const texts: string[] = [];
    for await (const { text } of stage.client.logs(ref.task)) texts.push(text);
    expect(texts.join("")).not.toContain("forged");
    await stage.client.cancel({ id: ref.task });
  });

  test("no blob of another's passes for its result", async () => {
    const offer = await given();
    const blob = { blob: blobName(HONEST, offer.task, 1), bytes: 10 };
    await report({ finished: [end(offer, { kind: "succeeded", blob })] });
    await noted(`named a result for ${offer.task} that is not its own`);
    expect(await stage.client.getTask({ id: offer.task })).not.toMatchObject({ state: "succeeded" });
    await stage.client.cancel({ id: offer.task }).catch(() => undefined);
  });

  test("more than a message may hold ends its connection, and nobody else's", async () => {
    expect(await oversized(door, seed)).toMatch(/-ERR 'Maximum Payload/);
    await noted("sent a message larger than the bus takes");
    await expectHonestWorks();
  });

  test("hundreds of tries leave a few lines in the audit log, which stays whole", async () => {
    for (let n = 0; n < 500; n += 1) raw.publish(reportFrom(HONEST), "{}");
    for (let n = 0; n < 500; n += 1) beat({ node: HONEST });
    await raw.flush();
    await report({});
    await expectHonestWorks();
    const { entries } = await stage.client.audit({ limit: 500 });
    const own = entries.filter(({ actor }) => actor === "node nas2");
    // Of the honest one there is nothing to tell.
    expect(entries.filter(({ actor, action }) => action === "node.trespassed" && actor !== "node nas2")).toEqual([]);
    // Thirty a minute; the whole suite takes some of them.
    const minutes = Math.ceil(((own.at(-1)?.at ?? 0) - (own[0]?.at ?? 0)) / 60_000) + 1;
    expect(own.length).toBeLessThanOrEqual(30 * minutes + 1);
    expect((await stage.run("lead", "audit", "verify")).code).toBe(0);
  });
});

/** By hand, because every client library knows the limit. Gives what the server said until it hung up. */
function oversized(port: number, seed: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    const keys = fromSeed(seed);
    let heard = "";
    let sent = false;
    const socket = createConnection(port, "127.0.0.1");
    socket.on("data", (piece) => {
      heard += piece.toString("latin1");
      const { nonce } = JSON.parse(/^INFO (\{.*\})/.exec(heard)?.[1] ?? "{}") as { nonce?: string };
      if (nonce === undefined || sent) return;
      sent = true;
      const sig = Buffer.from(keys.sign(Buffer.from(nonce))).toString("base64url");
      socket.write(`CONNECT ${JSON.stringify({ nkey: keys.getPublicKey(), sig, verbose: false })}\r\nPUB ${reportFrom(EVIL)} 8000000\r\n`);
    });
    socket.on("error", () => socket.destroy());
    socket.on("end", () => socket.destroy());
    socket.on("close", () => resolve(heard));
  });
}
