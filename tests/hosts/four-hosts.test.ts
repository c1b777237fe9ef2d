/**
 * A cluster of machines that are really apart, from the first code to the last word: two workers come in with one line each, work, one of
 * them is cut off and comes back, one is shut out for good. What takes how long is printed, and promised by tests/faults.
 */
import { connect, errors, nkeyAuthenticator, type NatsConnection } from "@nats-io/transport-node";
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { Task } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeSessionRequest } from "../../cluster/src/trust/session-proof.ts";
import { until, untilOver, untilState, type TestDaemon } from "../support/daemon.ts";
import { API_PORT, NATS_PORT, openFourHosts, type FourHosts, type HostName } from "../support/four-hosts.ts";
import { whyNoHosts } from "../support/hosts.ts";

const whyNot = whyNoHosts();
const WORKERS = ["nas1", "nas2"] as const;
type WorkerName = (typeof WORKERS)[number];
const other = (name: WorkerName): WorkerName => (name === "nas1" ? "nas2" : "nas1");
const LONG_MS = 600_000;

const echo = (more: Partial<TaskSpec> = {}, delayMs?: number): TaskSpec =>
  ({ kind: "echo", input: { value: "hello", ...(delayMs !== undefined && { delayMs }) }, ...more }) as TaskSpec;
const only = (...names: readonly HostName[]): Partial<TaskSpec> => ({ require: { nodes: names.map((name) => NodeId.parse(name)) } });
/** A figure for a person. */
const tell = (what: string, since: number): void => void process.stdout.write(`${what}: ${Math.round(performance.now() - since)} ms\n`);

describe.skipIf(whyNot !== undefined)(`four hosts${whyNot === undefined ? "" : ` (skipped: ${whyNot})`}`, () => {
  let stage: FourHosts;
  const daemons = {} as Record<WorkerName, TestDaemon>;
  beforeAll(async () => {
    stage = await openFourHosts();
  });
  afterAll(() => stage?.end());

  const nodeState = (name: HostName, state: string): Promise<true> =>
    until(`${name} is ${state}`, async () => (await stage.client.node({ id: NodeId.parse(name) })).state === state || undefined);
  const ended = async (spec: TaskSpec): Promise<Task> => untilOver(stage, (await stage.client.submit(spec)).id);

  test.each(WORKERS)("with one line, %s is a node, and a task that waits for it runs", async (name) => {
    const { id } = await stage.client.submit(echo(only(name)));
    const code = await stage.invite();
    const since = performance.now();
    const joined = stage.begin(name, "join", code, "--node-id", name);
    expect(await untilOver(stage, id)).toMatchObject({ state: "succeeded", node: name, result: "hello" });
    tell(`from the command to the end of a task on ${name}`, since);
    process.stdout.write(`${await joined.says(/^A task ran here .*/m)}\n`);
    await joined.end();
    expect(await joined.ended()).toMatchObject({ code: 0 });
    daemons[name] = await stage.start(name);
    const shown = await stage.run("lead", "nodes", "show", name);
    expect(shown.stdout).toMatch(
      new RegExp(`^joined from +${stage[name].address}, ${name}\\.tail1a2b3\\.ts\\.net, ann@example\\.com$`, "m"),
    );
  });

  test("the coordinator is found from another host of the tailnet, and by nothing but its answer", async () => {
    const { code, stdout } = await stage.run("nas1", "discover", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ asked: 4, coordinators: [{ url: `http://${stage.lead.address}:${API_PORT}` }] });
  });

  test("work goes to each, and none of it to both", async () => {
    const tasks = await Promise.all(Array.from({ length: 20 }, () => ended(echo({}, 200))));
    expect(new Set(tasks.map(({ state, attempt }) => `${state} ${attempt}`))).toEqual(new Set(["succeeded 1"]));
    expect(new Set(tasks.map(({ node }) => node))).toEqual(new Set(WORKERS));
  });

  test("one that is cut off loses its work to the other, and works again when the network is back", async () => {
    const { id } = await stage.client.submit(echo(only(...WORKERS), LONG_MS));
    const struck = (await untilState(stage, id, "running")).node as unknown as WorkerName;
    const since = performance.now();
    await stage[struck].cut();
    await until("it runs on the other", async () => {
      const { state, node } = await stage.client.getTask({ id });
      return (state === "running" && (node as string) === other(struck)) || undefined;
    });
    tell("from the cut to the start on the other host", since);
    await nodeState(struck, "lost");
    await stage[struck].heal();
    const healed = performance.now();
    await nodeState(struck, "ready");
    tell("from the healing to a ready node", healed);
    expect(await ended(echo(only(struck)))).toMatchObject({ state: "succeeded", node: struck });
    // It did not come back with the old attempt.
    expect(await stage.client.getTask({ id })).toMatchObject({ state: "running", node: other(struck), attempt: 2 });
    await stage.client.cancel({ id });
  });

  test("one that is shut out is cut off at once, and its key opens nothing any more", async () => {
    const { id } = await stage.client.submit(echo(only("nas2", "nas1"), LONG_MS));
    const node = (await untilState(stage, id, "running")).node as unknown as WorkerName;
    const seed = await readFile(`${stage.home(node)}/node.seed`);
    const place = await stage[node].reach({ host: stage.listensOn, port: NATS_PORT });
    const come = (): Promise<NatsConnection> =>
      connect({ servers: `127.0.0.1:${place}`, reconnect: false, authenticator: nkeyAuthenticator(seed), inboxPrefix: `_INBOX_${node}` });
    const connection = await come();
    const since = performance.now();
    const revoked = stage.client.revokeNode({ id: NodeId.parse(node) });
    await connection.closed();
    tell("from the word to the dead connection", since);
    expect(await revoked).toMatchObject({ state: "revoked" });
    expect(await daemons[node].ended()).toMatchObject({ code: 2, stderr: expect.stringContaining("node_removed") as string });
    expect(await untilState(stage, id, "running")).toMatchObject({ node: other(node) });
    await stage.client.cancel({ id });

    await expect(come()).rejects.toBeInstanceOf(errors.AuthorizationError);
    const coordinatorKey = (await readFile(`${stage.home(node)}/coordinator.key`, "utf8")).trim();
    const own = { id: NodeId.parse(node), ...makeSessionRequest(NodeId.parse(node), coordinatorKey, seed) };
    await expect(stage.client.session(own)).rejects.toMatchObject({ code: "unauthorized" });
    await expect(daemons[node].start()).rejects.toThrow("has shut it out");
    await until("both tries are in the audit log", async () => {
      const { entries } = await stage.client.audit({ limit: 500 });
      const tried = entries
        .filter(({ actor, action }) => actor === `node ${node}` && action === "node.trespassed")
        .map(({ object }) => object);
      return ["wanted onto the bus", "asked to come in"].every((what) => tried.some((object) => object.includes(what))) || undefined;
    });
  });

  test("who came in from where, and who had to go, is in the audit log, whole", async () => {
    const { stdout } = await stage.run("lead", "audit", "list", "--json");
    const { entries } = JSON.parse(stdout) as { entries: { actor: string; action: string; object: string }[] };
    for (const name of WORKERS)
      expect(entries).toContainEqual(
        expect.objectContaining({
          actor: `node ${name}`,
          action: "node.joined",
          object: expect.stringContaining(`ann@example.com (${name}.tail1a2b3.ts.net) at ${stage[name].address}`) as string,
        }),
      );
    expect((await stage.run("lead", "audit", "verify")).code).toBe(0);
  });
});

describe.skipIf(whyNot !== undefined)("where only certain logins may join", () => {
  let stage: FourHosts;
  beforeAll(async () => {
    stage = await openFourHosts({ join: { tailscaleLogin: ["ann@example.com"] } });
  });
  afterAll(() => stage?.end());

  test("another's machine is refused with a good code, which stays good for the right one", async () => {
    const code = await stage.invite();
    const refused = await stage.run("stranger", "join", "--no-start", code, "--node-id", "nas1");
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("it is eve@example.com (stranger.tail1a2b3.ts.net)") as string,
    });
    expect(await stage.run("nas1", "join", "--no-start", code, "--node-id", "nas1")).toMatchObject({ code: 0 });
    expect((await stage.client.nodes()).nodes.map(({ id }) => id)).toEqual(["nas1"]);
  });

  test("where Tailscale says nothing, nobody may (fails closed)", async () => {
    stage.stub.knows(stage.nas2.address, "");
    const refused = await stage.run("nas2", "join", "--no-start", await stage.invite(), "--node-id", "nas2");
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("nobody knows whose it is") as string });
    const { entries } = await stage.client.audit({ limit: 500 });
    expect(entries.filter(({ action }) => action === "node.join_refused").map(({ actor }) => actor)).toEqual([
      `address ${stage.stranger.address}`,
      `address ${stage.nas2.address}`,
    ]);
  });
});
