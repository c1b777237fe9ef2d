/**
 * Machines that are updated one at a time while the cluster works: from the previous commit's build to this one and back, and where two
 * builds have no version of the protocol in common.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Client } from "@openclaw-cluster/contract/client/client";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { PROTOCOL, protocolText } from "@openclaw-cluster/contract/protocol";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { openTrio, type Trio } from "../../scripts/control-trio.ts";
import { startDaemon } from "../../scripts/daemon.ts";
import { buildOf, buildSpeaking, previousCommit, type Build } from "../support/builds.ts";
import { startCluster, until, untilOver, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { SteadyLoad, type LoadSeen } from "../support/steady-load.ts";
import { isWhole } from "../support/whole-trio.ts";

const PER_SECOND = 20;
const TEST_MS = 300_000;
const WHOLE_MS_MAX = 90_000;
const HERE = fileURLToPath(new URL("../../cluster/bin/openclaw-cluster.mjs", import.meta.url));

const previous = process.env["OPENCLAW_CLUSTER_TEST_PREVIOUS"] ?? (await previousCommit());

describe.skipIf(previous === undefined)(
  `from the build of ${previous?.slice(0, 9) ?? "before (skipped: no earlier commit here)"} to this one`,
  () => {
    let folder: string;
    let before: Build;
    let trio: Trio;
    const workers = new Map<string, Awaited<ReturnType<typeof startDaemon>>>();

    beforeAll(async () => {
      folder = await mkdtemp(path.join(tmpdir(), "ocx-roll-"));
      before = await buildOf(previous as string);
      const { command } = before;
      trio = await openTrio({ folder, place: () => ({ manner: { command } }) });
      await trio.promote(...trio.names.slice(1));
      const coordinator = { url: trio.node("one").url, tokenFile: path.join(trio.node("one").home, "admin.token") };
      for (const nodeId of ["four", "five"]) {
        const settings = { nodeId, roles: ["worker"], coordinator, slots: 8, openclaw: { enabled: "off" } };
        workers.set(nodeId, await startDaemon(path.join(folder, nodeId), settings, { command }));
      }
      await until("the cluster is whole", () => isWhole(trio.client), WHOLE_MS_MAX);
    }, TEST_MS);
    afterAll(async () => {
      for (const { process } of workers.values()) await process.end();
      await trio?.end();
      await before?.remove();
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    }, TEST_MS);

    /** Each machine in turn, the one that leads last, under load; then each has work to do. */
    const roll = async (command: string): Promise<LoadSeen> => {
      const load = new SteadyLoad(trio.client, PER_SECOND);
      onTestFinished(() => load.stop());
      await load.more(PER_SECOND);
      const { name: leader } = await trio.leader();
      for (const [name, { process }] of workers) {
        await process.end();
        workers.set(name, await startDaemon(path.join(folder, name), undefined, { command }));
      }
      for (const name of [...trio.names.filter((one) => one !== leader), leader]) {
        await trio.node(name).stop();
        await trio.node(name).start(command);
        await until(`the cluster is whole with ${name}`, () => isWhole(trio.client), WHOLE_MS_MAX);
        await load.more(PER_SECOND);
      }
      const seen = await load.end();
      process.stdout.write(`${seen.accepted} accepted meanwhile; nothing was accepted for ${Math.round(seen.gapMs)} ms at most\n`);
      for (const id of [...trio.names, "four", "five"].map((name) => NodeId.parse(name)))
        await until(`${id} works`, () => works(trio.client, id));
      return seen;
    };

    test("machine by machine, the one that leads last: nothing is lost, refused or accepted twice", { timeout: TEST_MS }, async () => {
      expect(await roll(HERE)).toMatchObject({ broken: [], refusals: [] });
    });

    test("and back again", { timeout: TEST_MS }, async () => {
      expect(await roll(before.command)).toMatchObject({ broken: [], refusals: [] });
    });
  },
);

describe("builds that speak several versions of the protocol", () => {
  const { newest } = PROTOCOL;
  let next: Build;
  let far: Build;
  let cluster: TestCluster;
  let adjacent: TestDaemon;
  let distant: TestDaemon;

  beforeAll(async () => {
    [next, far] = await Promise.all([
      buildSpeaking({ oldest: newest, newest: newest + 1 }),
      buildSpeaking({ oldest: newest + 1, newest: newest + 2 }),
    ]);
    cluster = await startCluster();
    adjacent = await cluster.addWorker("adjacent", { command: next.command });
    distant = await cluster.addWorker("distant", { command: far.command });
  }, TEST_MS);
  afterAll(async () => {
    await cluster?.end();
    await Promise.all([next?.remove(), far?.remove()]);
  });

  test(
    "one that is a version ahead works; one that is two ahead is given nothing, and both sides say which to update",
    { timeout: TEST_MS },
    async () => {
      expect(await run(cluster, "adjacent")).toMatchObject({ state: "succeeded", node: "adjacent" });
      const { id } = await cluster.client.submit(task("distant"));
      const { refused } = await until("why it waits", async () => {
        const why = await cluster.client.why({ id });
        return why.refused.some(({ code }) => code === "protocol") ? why : undefined;
      });
      expect(refused.find(({ node }) => node === "distant")).toMatchObject({
        code: "protocol",
        detail: `speaks ${protocolText({ oldest: newest + 1, newest: newest + 2 })}, and the coordinator ${protocolText(PROTOCOL)}`,
      });
      const { nodes } = await cluster.client.nodes({});
      expect(nodes.map(({ apart }) => apart)).toEqual([
        undefined,
        expect.stringMatching(/: update openclaw-cluster on the control nodes$/),
      ]);
      await until(
        "the node says so itself",
        async () => (await said(distant.home)).includes("no work until one of them is updated") || undefined,
      );
      // The coordinator is updated, and nobody touches the workers.
      await cluster.lead.stop();
      await cluster.lead.start({ command: next.command });
      expect(await untilOver(cluster, id)).toMatchObject({ state: "succeeded", node: "distant" });
      expect(await run(cluster, "adjacent")).toMatchObject({ state: "succeeded" });
    },
  );

  test("a node that stayed behind is the one to be updated", { timeout: TEST_MS }, async () => {
    await adjacent.stop();
    await adjacent.start({ command: HERE });
    expect(await run(cluster, "adjacent")).toMatchObject({ state: "succeeded" });
    await cluster.lead.stop();
    await cluster.lead.start({ command: far.command });
    const { id } = await cluster.client.submit(task("adjacent"));
    await until(
      "why it waits",
      async () => (await cluster.client.why({ id })).refused.some(({ code }) => code === "protocol") || undefined,
    );
    const { nodes } = await cluster.client.nodes({});
    expect(nodes[0]?.apart).toMatch(/: update openclaw-cluster on adjacent$/);
    await adjacent.stop();
    await adjacent.start({ command: next.command });
    expect(await untilOver(cluster, id)).toMatchObject({ state: "succeeded" });
  });
});

const task = (node: string) => ({ kind: "echo" as const, input: { value: node }, require: { nodes: [NodeId.parse(node)] } });

async function run(cluster: TestCluster, node: string) {
  const { id } = await cluster.client.submit(task(node));
  return untilOver(cluster, id);
}

async function works(client: Client, node: NodeId): Promise<true> {
  const { id } = await client.submit(task(node));
  await untilOver({ client }, id);
  return true;
}

/** All that stands in its logs. */
async function said(home: string): Promise<string> {
  const logs = path.join(home, "logs");
  const texts = await Promise.all((await readdir(logs)).map((file) => readFile(path.join(logs, file), "utf8")));
  return texts.join("");
}
