/** Who may use a node and when, on real daemons: two people with tokens of their own, one machine, and its policy.yaml. */
import { TaskId } from "@openclaw-cluster/contract/ids";
import type { Scope } from "@openclaw-cluster/contract/scopes";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, until, untilOver, writePolicy, type TestCluster, type TestDaemon } from "../support/daemon.ts";

const ECHO: TaskSpec = { kind: "echo", input: { value: 1 } };

let cluster: TestCluster;
let studio: TestDaemon;
const tokens: Record<string, { id: string; token: string }> = {};
beforeAll(async () => {
  cluster = await startCluster();
  for (const name of ["ann", "bob"]) {
    const body = { name, scope: "submitter" satisfies Scope };
    tokens[name] = (await cluster.ask({ method: "POST", path: "/api/v1/tokens", body })).json;
  }
  studio = await cluster.addWorker("studio", { policy: { users: { allow: ["ann"] } } });
});
afterAll(() => cluster?.end());

async function submit(name: string, spec: TaskSpec = ECHO): Promise<TaskId> {
  const authorization = `Bearer ${tokens[name]?.token}`;
  const { json } = await cluster.ask({ method: "POST", path: "/api/v1/tasks", body: spec, headers: { authorization } });
  return TaskId.parse(json.id);
}

/** The node has read its file again, and the coordinator knows. */
const shows = (what: string): Promise<true> =>
  until(`nodes show says "${what}"`, async () => ((await cluster.cli("nodes", "show", "studio")).stdout.includes(what) ? true : undefined));

const saysWhy = (id: TaskId, what: string): Promise<string> =>
  until(`why says "${what}"`, async () => {
    const { sentence } = await cluster.client.why({ id });
    return sentence.includes(what) ? sentence : undefined;
  });

test("ann's task runs, bob's waits and says why; the node shows for whom it works; a change of the file counts at once", async () => {
  const [hers, his] = [await submit("ann"), await submit("bob")];
  expect(await untilOver(cluster, hers)).toMatchObject({ state: "succeeded", node: "studio" });
  await saysWhy(his, "studio does not allow the user bob (allow it in policy.yaml on studio)");
  expect((await cluster.cli("nodes", "show", "studio")).stdout).toMatch(/^its users +ann$/m);
  // His token goes; what it was called stays with his task, also over a restart of the coordinator.
  await cluster.ask({ method: "DELETE", path: `/api/v1/tokens/${tokens["bob"]?.id}` });
  await cluster.lead.stop();
  await cluster.lead.start();
  await saysWhy(his, "does not allow the user bob");
  await writePolicy(studio.home, { users: { allow: ["ann", "bo*"] } });
  expect(await untilOver(cluster, his)).toMatchObject({ state: "succeeded", node: "studio" });
});

test("in quiet hours only what is for this node alone is taken, where the policy says so", async () => {
  await writePolicy(studio.home, { hours: { quiet: ["00:00-24:00"], timeZone: "UTC", pinned: true } });
  await shows("; now, without an end");
  const [any, only] = [await submit("ann"), await submit("ann", { ...ECHO, require: { nodes: ["studio" as never] } })];
  expect(await untilOver(cluster, only)).toMatchObject({ state: "succeeded" });
  await saysWhy(any, "studio does not take work by its policy");
  await writePolicy(studio.home, {});
  expect(await untilOver(cluster, any)).toMatchObject({ state: "succeeded" });
});

test("a broken file denies everything, and says so to whoever asks", async () => {
  await writePolicy(studio.home, "version: 1\nusers: { alow: [ann] }\n");
  await shows("policy allows  nothing");
  const id = await submit("ann");
  await saysWhy(id, "does not allow tasks of kind echo");
  expect((await cluster.cli("--home", studio.home, "policy", "check")).stdout).toContain(":2: users.alow: Unrecognized key");
  await writePolicy(studio.home, {});
  expect(await untilOver(cluster, id)).toMatchObject({ state: "succeeded" });
});
