/** A node's bus goes to where its coordinator is: told of other servers, and when nobody hears it where it is. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClusterId, NodeId, type TaskId } from "@openclaw-cluster/contract/ids";
import { afterEach, beforeEach, expect, test } from "vitest";
import { plainEnvelopes } from "../../cluster/src/bus/envelope-door.ts";
import { openEnvelopes } from "../../cluster/src/bus/envelopes.ts";
import { connectNats, type NatsBus, type NatsOptions } from "../../cluster/src/bus/nats.ts";
import { startNatsServer, type NatsServer } from "../../cluster/src/bus/nats-server.ts";
import { ANY_HEARTBEAT, COORDINATOR, heartbeatFrom } from "../../cluster/src/bus/subjects.ts";
import { watchSession } from "../../cluster/src/compose/session-watch.ts";
import type { Coordinator } from "../../cluster/src/coordinator/coordinator.ts";
import { openCoordinator } from "../../cluster/src/coordinator/open.ts";
import { DEFAULT_POLICY } from "../../cluster/src/core/policy.ts";
import { echoExecutor } from "../../cluster/src/executors/echo.ts";
import type { Executor } from "../../cluster/src/executors/executors.ts";
import { openRamStore } from "../../cluster/src/store/ram.ts";
import { systemClock as clock } from "../../cluster/src/system/clock.ts";
import { silentLog as log } from "../../cluster/src/system/log.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { Keyring } from "../../cluster/src/trust/keyring.ts";
import { signer } from "../../cluster/src/trust/signature.ts";
import { openWorker } from "../../cluster/src/worker/worker.ts";
import { AUTHORITY } from "../support/authority.ts";
import { natsIn } from "../support/nats.ts";
import { factsOf } from "../support/ram-cluster.ts";

const NODE = NodeId.parse("a");
const WAIT = { timeout: 20_000, interval: 20 };
const TASK_MS = 20_000;

const lead = createNodeKeys();
const keys = createNodeKeys();
let root: string;
let x: NatsServer;
let y: NatsServer;
let ends: (() => Promise<unknown>)[];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "ocx-follows-"));
  ends = [() => rm(root, { recursive: true, force: true })];
  const nodes = [{ id: NODE, publicKey: keys.publicKey }];
  const start = async (name: string): Promise<NatsServer> =>
    startNatsServer({ ...(await natsIn(join(root, name))), coordinator: lead, nodes });
  [x, y] = await Promise.all([start("x"), start("y")]);
  for (const server of [x, y]) ends.push(() => server.stop());
});
afterEach(async () => {
  for (const end of ends.toReversed()) await end();
});

async function connect(urls: readonly string[], more: Partial<NatsOptions> = {}): Promise<NatsBus> {
  const bus = await connectNats({ urls, seed: more.node === undefined ? lead.seed : keys.seed, envelopes: plainEnvelopes(), log, ...more });
  ends.push(() => bus.close());
  return bus;
}

const placeOf = ({ url }: NatsServer): string => new URL(url).host;

test("a bus leaves a server that is none of its own any more at once, says what was said before, and asks nothing there afterwards", async () => {
  const [atX, atY] = [await connect([x.url]), await connect([y.url])];
  const heard: Record<"x" | "y", unknown[]> = { x: [], y: [] };
  for (const [at, bus] of [
    ["x", atX],
    ["y", atY],
  ] as const)
    bus.subscribe(ANY_HEARTBEAT, ({ body, respond }) => (heard[at].push(body), respond?.(at)));
  const a = await connect([x.url], { node: NODE });
  const changes: boolean[] = [];
  a.onStatus((connected) => changes.push(connected));

  a.reach([y.url, x.url]);
  // From when on the server knows who listens, nobody says.
  await expect.poll(() => a.request(heartbeatFrom(NODE), "stays", 5_000).catch(() => undefined), WAIT).toBe("x");
  expect(changes).toEqual([]);

  a.publish(heartbeatFrom(NODE), "before");
  a.reach([y.url]);
  expect(a.connected).toBe(false);
  await expect(a.request(heartbeatFrom(NODE), "too early", 5_000)).rejects.toMatchObject({ code: "bus_unreachable" });
  await expect.poll(() => a.connected && a.server, WAIT).toBe(placeOf(y));
  expect(changes).toEqual([false, true]);
  expect(await a.request(heartbeatFrom(NODE), "after", 5_000)).toBe("y");
  await expect.poll(() => heard, WAIT).toEqual({ x: ["stays", "before"], y: ["after"] });

  // One that is among them again before it was left is not left.
  a.reach([x.url]);
  a.reach([x.url, y.url]);
  await expect.poll(() => changes, WAIT).toEqual([false, true, false, true]);
  expect(a.server).toBe(placeOf(y));
});

test("what is told while no server answers counts for the next try", async () => {
  const a = await connect([x.url], { node: NODE });
  await x.stop();
  await expect.poll(() => a.connected, WAIT).toBe(false);
  a.reach([y.url]);
  await expect.poll(() => a.connected && a.server, WAIT).toBe(placeOf(y));
});

test("a worker at a server whose coordinator leads no more asks where the bus is, goes there, and works", async () => {
  const store = openRamStore();
  ends.push(() => store.close());
  const takeLead = async (busServer: NatsServer): Promise<Coordinator> => {
    const keyring = new Keyring();
    const envelopes = openEnvelopes({ self: COORDINATOR, seed: lead.seed, keyOf: (party) => keyring.keyOf(party) });
    const bus = await connect([busServer.url], { envelopes });
    return openCoordinator({
      ...{ name: "test", version: "0", self: NODE, store, bus, busServer, keyring, clock, log, random: Math.random },
      ...{ coordinatorKey: lead.publicKey, sign: signer(lead.seed), authority: AUTHORITY },
      ...{ busUrls: () => [busServer.url], apiUrls: () => [], controlUrls: () => [] },
      ...{ strategy: "balanced" as const, retentionMs: 86_400_000, broken: () => undefined },
    });
  };
  const run = async (coordinator: Coordinator): Promise<string> => {
    const [task] = await coordinator.submit({ owner: "test", specs: [{ kind: "echo", input: { value: 1 } }] });
    return (await coordinator.waitFor(task?.id as TaskId, TASK_MS, new AbortController().signal)).state;
  };
  const former = await takeLead(x);
  const { cluster, coordinatorKey } = await former.enrol({ id: NODE, publicKey: keys.publicKey });
  const envelopes = openEnvelopes({ self: NODE, seed: keys.seed, keyOf: () => coordinatorKey });
  const bus = await connect([x.url], { node: NODE, envelopes });
  const worker = await openWorker({
    ...{ node: NODE, cluster: ClusterId.parse(cluster), bus, clock, log, folder: join(root, "worker"), slots: 2, diskFloorMiB: 0 },
    ...{ executors: new Map([["echo", echoExecutor({ clock }) as Executor]]), facts: async () => factsOf() },
    policy: { current: () => DEFAULT_POLICY },
  });
  ends.push(() => worker.stop({ graceMs: 0 }));
  let leading = x;
  const ask = async () => ({ cluster, coordinatorKey, busUrls: [leading.url], at: "http://10.0.0.1:8888" });
  const watch = watchSession({
    ...{ ask, told: async () => undefined, removed: () => undefined, bus, worker, clock, random: Math.random, log },
  });
  ends.push(async () => watch.stop());
  expect(await run(former)).toBe("succeeded");

  // Its nats-server stays, and so does everybody's connection to it.
  await former.abandon();
  leading = y;
  const next = await takeLead(y);
  ends.push(() => next.stop());
  expect(bus.server).toBe(placeOf(x));
  expect(await run(next)).toBe("succeeded");
  expect(bus.server).toBe(placeOf(y));
  expect(worker.heard).toBe(true);
}, 60_000);
