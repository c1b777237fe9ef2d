/**
 * Two users at work on one cluster, through the API on a real socket, with tokens that an administrator has made: what each of
 * them sees of the other's work, and does to it.
 */
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { Scope } from "@openclaw-cluster/contract/scopes";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { TokenId } from "@openclaw-cluster/contract/token";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openApi, type Api } from "../../cluster/src/api/api.ts";
import { Policy } from "../../cluster/src/core/policy.ts";
import { systemClock } from "../../cluster/src/system/clock.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

const HERS = "what ann works on";
const HIS = "what bob works on";
const FORBIDDEN = { code: "forbidden", detail: expect.stringContaining("belongs to ann") as string };

let cluster: RamCluster;
let api: Api;
let clients: Client[];
/** ann has two tokens; the second may only read. */
let ann: Client;
let phone: Client;
let bob: Client;
let operator: Client;
let laptopToken: TokenId;
let tokens: Record<"ann" | "phone" | "bob" | "operator", string>;

beforeEach(async () => {
  cluster = await startRamCluster();
  const make = (name: string, user: string, scope: Scope) => cluster.coordinator.makeToken({ name, user, scope });
  const laptop = await make("laptop", "ann", "submitter");
  laptopToken = laptop.id;
  tokens = {
    ann: laptop.token,
    phone: (await make("phone", "ann", "viewer")).token,
    bob: (await make("desk", "bob", "submitter")).token,
    operator: (await make("rack", "olga", "operator")).token,
  };
  clients = [];
  await serve();
});
afterEach(async () => {
  await hangUp();
  await cluster.stop();
});

/** In front of the coordinator that leads now. */
async function serve(): Promise<void> {
  const { coordinator } = cluster;
  api = await openApi({ coordinator, host: "127.0.0.1", port: 0, log: silentLog, clock: systemClock });
  [ann, phone, bob, operator] = [dial(tokens.ann), dial(tokens.phone), dial(tokens.bob), dial(tokens.operator)];
}

async function hangUp(): Promise<void> {
  for (const client of clients.splice(0)) await client.close();
  await api.close();
}

function dial(token: string): Client {
  const client = openClient({ url: api.url, token, transport: nodeTransport() });
  clients.push(client);
  return client;
}

const echo = (value: string, more: object = {}): TaskSpec => ({ kind: "echo", input: { value }, ...more }) as TaskSpec;
const long = (value: string): TaskSpec => echo(value, { input: { value, delayMs: 60_000 }, labels: { length: "long" } });
const failing = (value: string): TaskSpec => echo(value, { input: { value, fail: true }, retry: { max: 0 } });
const textOf = (answer: unknown): string => JSON.stringify(answer);

test("each sees its own work whole, and of the other's that it is there", async () => {
  await cluster.addWorker("studio");
  const [hers, his] = await Promise.all([ann.run(echo(HERS, { name: "report" })), bob.run(echo(HIS))]);
  expect([hers.result, his.result]).toEqual([HERS, HIS]);
  for (const reader of [ann, phone, operator]) expect(await reader.result({ id: hers.id })).toBe(HERS);
  const shown = await bob.getTask({ id: hers.id });
  expect(shown).toMatchObject({ owner: "ann", name: "report", state: "succeeded", node: "studio", hidden: true, spec: { kind: "echo" } });
  for (const answer of [
    shown,
    await bob.listTasks(),
    await bob.attempts({ id: hers.id }),
    await bob.queue(),
    await bob.getTask({ id: hers.id, wait: 1 }),
  ])
    expect(textOf(answer)).not.toContain(HERS);
  expect(textOf(await bob.listTasks())).toContain(HIS);
  await expect(bob.why({ id: hers.id })).rejects.toMatchObject(FORBIDDEN);
  await expect(bob.result({ id: hers.id })).rejects.toMatchObject(FORBIDDEN);
  await expect(bob.logs(hers.id)[Symbol.asyncIterator]().next()).rejects.toMatchObject(FORBIDDEN);
  expect((await bob.listTasks({ mine: true })).tasks.map(({ id }) => id)).toEqual([his.id]);
  expect((await bob.listTasks({ owner: "ann" })).tasks.map(({ id }) => id)).toEqual([hers.id]);
});

test("nobody below operator touches another's work, one by one or together", async () => {
  await cluster.addWorker("studio");
  const [hers, his] = [await ann.submit(long(HERS)), await bob.submit(long(HIS))];
  const running = (id: TaskId) => vi.waitFor(async () => expect((await operator.getTask({ id })).state).toBe("running"));
  await Promise.all([running(hers.id), running(his.id)]);
  await expect(bob.cancel({ id: hers.id })).rejects.toMatchObject(FORBIDDEN);
  await expect(bob.retry({ id: hers.id })).rejects.toMatchObject(FORBIDDEN);
  await expect(bob.answer({ id: hers.id, decision: "fail" })).rejects.toMatchObject(FORBIDDEN);
  const all = { action: "cancel", filter: { label: "length=long" } } as const;
  const refusals = [{ id: hers.id, ...FORBIDDEN }];
  expect(await bob.bulk({ ...all, dryRun: true })).toEqual({ matched: 2, changed: 0, refused: 1, refusals });
  expect(await bob.bulk(all)).toEqual({ matched: 2, changed: 1, refused: 1, refusals });
  expect((await ann.getTask({ id: hers.id })).state).toBe("running");
  expect((await bob.getTask({ id: his.id, wait: 5 })).state).toBe("cancelled");
  expect(await operator.bulk(all)).toMatchObject({ matched: 1, changed: 1, refused: 0 });
});

test("the feed tells each what is theirs, also of what it brings back from before", async () => {
  await cluster.addWorker("studio");
  await Promise.all([ann.run(echo(HERS)), bob.run(echo(HIS)), ann.run(failing(HERS))]);
  const { epoch } = await bob.cluster();
  const told = async (client: Client): Promise<string> => {
    const ends = new Set<string>();
    const seen: unknown[] = [];
    for await (const event of client.events({ after: epoch * 2 ** 32 })) {
      seen.push(event);
      if (event.type === "task" && (event.state === "succeeded" || event.state === "failed")) ends.add(event.task);
      if (ends.size === 3) break;
    }
    return textOf(seen);
  };
  const [toBob, toAnn, toOlga] = [await told(bob), await told(phone), await told(operator)];
  expect([toBob.includes(HIS), toBob.includes(HERS), toBob.includes("asked to fail")]).toEqual([true, false, false]);
  expect([toAnn.includes(HIS), toAnn.includes(HERS), toAnn.includes("asked to fail")]).toEqual([false, true, true]);
  expect([toOlga.includes(HIS), toOlga.includes(HERS), toOlga.includes("hidden")]).toEqual([true, true, false]);
});

test("what her tasks failed of is not told in groups either, nor found by them", async () => {
  await cluster.addWorker("studio");
  const ended = await Promise.all([ann.run(failing(HERS)), ann.run(failing(HERS)), bob.run(failing(HIS))]);
  expect(ended.map(({ state }) => state)).toEqual(["failed", "failed", "failed"]);
  const counts = async (client: Client) => (await client.deadLetters()).groups.map(({ count }) => count);
  expect([await counts(operator), await counts(phone), await counts(bob)]).toEqual([[3], [2], [1]]);
  const alike = (await operator.deadLetters()).groups[0]?.alike as string;
  const found = async (client: Client) => (await client.listTasks({ alike, dead: true })).tasks.length;
  expect([await found(operator), await found(ann), await found(bob)]).toEqual([3, 2, 1]);
  expect(await bob.bulk({ action: "retry", filter: { alike } })).toMatchObject({ matched: 1, changed: 1, refused: 0 });
});

test("all tokens of a user own the same, and a token that is gone leaves its tasks to its user, over a restart as well", async () => {
  const made = await ann.submit(echo(HERS, { dedupeKey: "monday" }));
  const keyed = await ann.submit(echo(HERS), { idempotencyKey: "report" });
  await cluster.coordinator.revokeToken(laptopToken);
  await expect(ann.listTasks()).rejects.toMatchObject({ code: "unauthorized" });
  const other = await cluster.coordinator.makeToken({ name: "tablet", user: "ann", scope: "submitter" });
  tokens.ann = other.token;
  await hangUp();
  await cluster.restartCoordinator();
  await serve();
  expect(await ann.submit(echo(HERS, { dedupeKey: "monday" }))).toMatchObject({ id: made.id, replayed: true });
  expect(await ann.submit(echo(HERS), { idempotencyKey: "report" })).toMatchObject({ id: keyed.id, replayed: true });
  expect((await phone.listTasks({ mine: true })).tasks.map(({ spec }) => spec)).toEqual([echo(HERS), echo(HERS, { dedupeKey: "monday" })]);
  expect((await ann.cancel({ id: made.id })).state).toBe("cancelled");
  // His keys are not hers: the same words make tasks of his own.
  const his = [await bob.submit(echo(HERS, { dedupeKey: "monday" })), await bob.submit(echo("another body"), { idempotencyKey: "report" })];
  expect(his.every(({ id, replayed }) => id !== made.id && id !== keyed.id && replayed !== true)).toBe(true);
});

test("a node's policy means the user, by whichever token the task came", async () => {
  await cluster.addWorker("studio", {}, Policy.parse({ version: 1, users: { allow: ["ann"] } }));
  const tablet = await cluster.coordinator.makeToken({ name: "bob", user: "ann", scope: "submitter" });
  expect((await dial(tablet.token).run(echo(HERS))).result).toBe(HERS);
  const his = await bob.submit(echo(HIS));
  expect((await bob.why({ id: his.id })).sentence).toContain("does not allow the user bob");
});
