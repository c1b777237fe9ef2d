import { tmpdir } from "node:os";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { NodeFacts, NodeLoad, type LentHere } from "@openclaw-cluster/contract/node";
import type { TaskKind } from "@openclaw-cluster/contract/task-spec";
import { expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { lends } from "../core/scheduling/fixtures.ts";
import { DEFAULT_POLICY, Policy } from "../core/policy.ts";
import { echoExecutor } from "../executors/echo.ts";
import type { Executor } from "../executors/executors.ts";
import type { Inventory } from "../openclaw/openclaw.ts";
import { silentLog } from "../system/log.ts";
import { gatherFacts, type FactsParts } from "./facts.ts";
import { machineLoad } from "./load.ts";

const clock = new HandClock();
const PARTS: FactsParts = {
  version: "0.1.0",
  folder: tmpdir(),
  executors: new Map<TaskKind, Executor>([["echo", echoExecutor({ clock }) as Executor]]),
  policy: { current: () => DEFAULT_POLICY },
  labels: { room: "office" },
  slots: 4,
  clock,
  log: silentLog,
};
const INVENTORY: Inventory = {
  version: "2026.9.6",
  agents: ["main"],
  models: [{ id: "fake-1", provider: "fake" }],
  skills: [{ name: "summarize", eligible: false, missing: ["bin ffmpeg"] }],
};

test("of a machine without OpenClaw", async () => {
  const facts = NodeFacts.parse(await gatherFacts(PARTS)());
  expect(facts).toMatchObject({
    os: process.platform,
    arch: process.arch,
    version: "0.1.0",
    kinds: ["echo"],
    labels: { room: "office" },
    slots: 4,
    skills: [],
  });
  expect(facts.policy).toEqual({ kinds: ["echo", "agent"], sessions: [], commands: [] });
  expect(facts).not.toHaveProperty("openclaw");
  expect(facts.memoryMiB).toBeGreaterThan(0);
});

test("the policy's users and hours are told, and whether it is quiet now", async () => {
  // The hand's clock begins on 2023-11-14 at 22:30 in UTC.
  const policy = Policy.parse({ version: 1, users: { allow: ["ann"] }, hours: { quiet: ["22:00-07:00"], timeZone: "UTC" } });
  const gather = gatherFacts({ ...PARTS, clock: new HandClock(), policy: { current: () => policy } });
  expect(NodeFacts.parse(await gather()).policy).toMatchObject({
    users: { allow: ["ann"], deny: [] },
    hours: { text: "22:00-07:00 (UTC)", quiet: { until: Date.UTC(2023, 10, 15, 7), text: "07:00 (UTC)" } },
  });
});

test("agents and rules in letters of many bytes do not hold the facts up for ever (Z1)", async () => {
  const wide = Array.from({ length: 256 }, (_, index) => `${index}${"界".repeat(250)}`);
  const names = wide.map((name) => name.slice(0, 250));
  const lists = { agents: ["*"], commands: wide, tools: names, sessions: names, env: names, secrets: names };
  const policy = Policy.parse({ version: 1, allow: lists, deny: { agents: ["private"], tools: names } });
  const gateway = { reachable: true, inventory: async () => ({ ...INVENTORY, agents: wide }) };
  const facts = await gatherFacts({ ...PARTS, gateway, policy: { current: () => policy } })();
  expect(NodeFacts.parse(facts).policy.agents).toHaveLength(256);
  // What is left out means any: to refuse is the node's own affair.
  for (const absent of ["rules", "tools", "sessions"]) expect(facts.policy).not.toHaveProperty(absent);
  expect(Buffer.byteLength(JSON.stringify(facts))).toBeLessThan(900_000);
});

test("of one with it; when the Gateway is down, slow or broken, what it last said stays, marked unreachable (Z2)", async () => {
  const gateway = { reachable: true, inventory: async () => INVENTORY };
  const gather = gatherFacts({ ...PARTS, gateway });
  const openclaw = { version: "2026.9.6", reachable: true, agents: ["main"], models: INVENTORY.models };
  expect(NodeFacts.parse(await gather())).toMatchObject({ openclaw, skills: INVENTORY.skills });
  const lost = { openclaw: { ...openclaw, reachable: false }, skills: INVENTORY.skills };
  gateway.inventory = () => Promise.reject(new ClusterError("gateway_unreachable", "down"));
  expect(await gather()).toMatchObject(lost);
  gateway.inventory = () => new Promise(() => undefined);
  const slow = gather();
  clock.advance(4_000);
  expect(await slow).toMatchObject(lost);
  gateway.reachable = false;
  expect(await gather()).toMatchObject(lost);
});

test("lists and texts are cut to the schema's limits, and the whole fits in a heartbeat (Z1)", async () => {
  const long = "x".repeat(1_000);
  const many: Inventory = {
    version: long,
    agents: Array.from({ length: 1_000 }, (_, index) => `${index}${long}`),
    models: Array.from({ length: 1_000 }, (_, index) => ({ id: `${index}${long}`, provider: long })),
    skills: Array.from({ length: 1_000 }, (_, index) => ({
      name: `${index}${long}`,
      eligible: false,
      missing: Array.from({ length: 100 }, () => long),
    })),
  };
  const facts = NodeFacts.parse(await gatherFacts({ ...PARTS, gateway: { reachable: true, inventory: async () => many } })());
  expect(JSON.stringify(facts).length).toBeLessThan(300_000);
  expect(facts.skills.length).toBeGreaterThan(100);
});

test("that it lends models is told by them, and not by a kind that an older coordinator would refuse", async () => {
  const { can, ...wide } = { ...lends("界".repeat(256)), digest: "界".repeat(256) };
  const many = Array.from({ length: 300 }, (_, index) => ({ ...wide, can, contextTokens: index + 1 }));
  const executors = new Map<TaskKind, Executor>([...PARTS.executors, ["model", { kind: "model" } as Executor]]);
  const of = async (told: LentHere[] | undefined): Promise<NodeFacts> =>
    NodeFacts.parse(await gatherFacts({ ...PARTS, executors, lends: () => told })());
  expect(await of(undefined)).not.toHaveProperty("lends");
  const few = await of(many.slice(0, 2));
  expect([few.kinds, few.lends]).toEqual([["echo"], many.slice(0, 2)]);
  const cut = await of(many);
  expect(cut.lends).toHaveLength(256);
  expect(cut.lends?.some(({ digest }) => digest !== undefined)).toBe(false);
});

test("the machine's load", async () => {
  const load = machineLoad(tmpdir());
  for (let call = 0; call < 3; call++) {
    const now = await load();
    expect(NodeLoad.parse({ ...now, running: 0, held: 0 })).toMatchObject(now);
    expect(now.memoryFreeMiB).toBeGreaterThan(0);
  }
});
