/**
 * Control nodes that die, hang, hand over, lose their servers, are cut off, or are too few: three of them and two workers, on machines that
 * are really apart, while tasks come in all the time (docs/high-availability.md, Figures). Whatever happens, nothing that was accepted is
 * lost, nothing is accepted twice, and each task ends well, once.
 *
 * The figures are printed; what is promised holds on a machine that has nothing else to do, and a busy one gets PATIENCE times as long.
 * OPENCLAW_CLUSTER_TEST_KILLS and OPENCLAW_CLUSTER_TEST_PER_SECOND ask for more than CI has time for.
 */
import { loadavg } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import path from "node:path";
import { writeFile } from "node:fs/promises";
import { NodeId, type TaskId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { STALE_HEADER } from "../../cluster/src/api/relay.ts";
import type { ControlNodeProcess } from "../../scripts/control-trio.ts";
import { openControlHosts, WORKER_NAMES, type ControlHosts, type ControlName } from "../support/control-hosts.ts";
import { until, untilOver, untilState } from "../support/daemon.ts";
import { whyNoHosts } from "../support/hosts.ts";
import { SteadyLoad, type LoadSeen } from "../support/steady-load.ts";

const KILLS = Number(process.env["OPENCLAW_CLUSTER_TEST_KILLS"] ?? 3);
const PER_SECOND = Number(process.env["OPENCLAW_CLUSTER_TEST_PER_SECOND"] ?? 20);
const KILLED_MS = 10_000;
const STOPPED_MS = 15_000;
const HANDED_OVER_MS = 1_000;
/** Of a program that alone dies: it is started again at once. */
const PROGRAM_MS = 10_000;
const PATIENCE = 4;
/** After it every lease is over that nobody has lengthened. */
const WELL_OVER_MS = 25_000;
/** What a command has said last waits for the bus's streams, which find their leaders again. */
const OVER_MS = 90_000;
/** Of the load, before and after what happens. */
const SOME = PER_SECOND;
const TEST_MS = 400_000;

const whyNot = whyNoHosts();

describe.skipIf(whyNot !== undefined)(`three control nodes${whyNot === undefined ? "" : ` (skipped: ${whyNot})`}`, () => {
  let stage: ControlHosts;
  beforeAll(async () => {
    stage = await openControlHosts();
  }, TEST_MS);
  afterAll(() => stage?.end(), TEST_MS);
  beforeEach(() => stage.whole(), TEST_MS);

  const begin = async (): Promise<SteadyLoad> => {
    const load = new SteadyLoad(stage.all, PER_SECOND);
    onTestFinished(() => load.stop());
    await load.more(SOME);
    return load;
  };
  /** What happens to the leader, or to what it uses, under load. */
  const strike = async (what: string, promisedMs: number, happen: (leader: ControlNodeProcess) => Promise<unknown>): Promise<LoadSeen> => {
    const load = await begin();
    const leader = await stage.trio.leader();
    load.mark();
    await happen(leader);
    await load.more(SOME);
    const seen = await load.end();
    tell(what, seen);
    expect(seen).toMatchObject({ broken: [], refusals: [] });
    expect(seen.gapMs).toBeLessThan(promisedMs * PATIENCE);
    return seen;
  };
  /** Up again, however the test ends. */
  const bringBack = (node: ControlNodeProcess): void =>
    onTestFinished(async () => {
      await stage.host(node.name as ControlName).heal();
      if (!stage.trio.isUp(node.name)) await node.start();
    }, TEST_MS);
  /** With what it runs. */
  const killWhole = async (node: ControlNodeProcess): Promise<void> => {
    const pids = [await stage.programPid(node.name, "etcd"), await stage.programPid(node.name, "nats-server")];
    process.kill(node.pid, "SIGKILL");
    for (const pid of pids) process.kill(pid, "SIGKILL");
    await node.kill();
  };
  const epoch = async (): Promise<number> => (await stage.only((await stage.trio.leader()).name).cluster()).epoch;
  const awaits = (name: string, state: string): Promise<true> =>
    until(`${name} is ${state}`, async () => {
      const { control = [] } = await stage.all.cluster();
      return control.some((one) => (one.node as string) === name && one.state === state) || undefined;
    });

  test(`kill -9 of the leader, ${KILLS} times`, { timeout: TEST_MS * KILLS }, async () => {
    const gaps: number[] = [];
    for (let n = 1; n <= KILLS; n++) {
      await stage.whole();
      const before = await epoch();
      let killed: ControlNodeProcess | undefined;
      const seen = await strike(`kill -9 of the leader, ${n} of ${KILLS}`, KILLED_MS, (leader) => {
        bringBack((killed = leader));
        return leader.kill();
      });
      gaps.push(seen.gapMs);
      expect((await stage.trio.leader()).name).not.toBe(killed?.name);
      expect(await epoch()).toBeGreaterThan(before);
      await killed?.start();
    }
    gaps.sort((a, b) => a - b);
    process.stdout.write(`kill -9: median ${seconds(gaps[gaps.length >> 1])}, longest ${seconds(gaps.at(-1))}\n`);
  });

  test("SIGSTOP of the leader; when it wakes, it leads no more", { timeout: TEST_MS }, async () => {
    let stopped: ControlNodeProcess | undefined;
    let late: Promise<{ status: number; text: string }> | undefined;
    const before = await epoch();
    await strike("SIGSTOP of the leader", STOPPED_MS, async (leader) => {
      stopped = leader;
      onTestFinished(() => void process.kill(leader.pid, "SIGCONT"));
      process.kill(leader.pid, "SIGSTOP");
      // Lies in its socket until it wakes, and then it believes for a moment that it leads.
      late = askRaw(stage, leader.name, "POST", "/tasks", { kind: "echo", name: "late", input: { value: "late" } });
    });
    const { name, pid } = stopped as ControlNodeProcess;
    expect((await stage.trio.leader()).name).not.toBe(name);
    process.kill(pid, "SIGCONT");
    const { status, text } = await (late as NonNullable<typeof late>);
    process.stdout.write(`what the stopped one had before it: ${status} ${text.slice(0, 200)}\n`);
    expect([202, 503]).toContain(status);
    // Where it was accepted, then by the one that leads.
    if (status === 202)
      expect(await untilOver({ client: stage.all }, (JSON.parse(text) as { id: TaskId }).id)).toMatchObject({ result: "late" });
    await awaits(name, "standby");
    await until("it knows that it stands by", async () => (await stage.only(name).cluster()).standsBy);
    expect((await stage.trio.leader()).name).not.toBe(name);
    expect(await epoch()).toBe(before + 1);
  });

  test("the leader is stopped in good order, and hands over", { timeout: TEST_MS }, async () => {
    let gone: ControlNodeProcess | undefined;
    await strike("planned hand-over", HANDED_OVER_MS, (leader) => {
      bringBack((gone = leader));
      return leader.stop();
    });
    expect((await stage.trio.leader()).name).not.toBe(gone?.name);
  });

  test("kill of each nats-server, so also of those that lead JetStream and its streams", { timeout: TEST_MS }, async () => {
    for (const name of stage.trio.names) {
      await stage.whole();
      const { accepted } = await strike(`kill -9 of the nats-server of ${name}`, PROGRAM_MS, async () =>
        process.kill(await stage.programPid(name, "nats-server"), "SIGKILL"),
      );
      expect(accepted).toBeGreaterThan(0);
    }
  });

  test("kill of the etcd member that leads etcd", { timeout: TEST_MS }, async () => {
    const { store } = await stage.all.cluster();
    const name = store.members?.find(({ state }) => state === "leader")?.name as string;
    const { accepted } = await strike(`kill -9 of the etcd member that leads etcd, ${name}`, PROGRAM_MS, async () =>
      process.kill(await stage.programPid(name, "etcd"), "SIGKILL"),
    );
    expect(accepted).toBeGreaterThan(0);
  });

  test("a whole control host is gone at once; a worker goes on, and what it wrote is there", { timeout: TEST_MS }, async () => {
    const [worker] = WORKER_NAMES;
    const release = path.join(stage.home(worker), "release");
    const script = `echo before; until [ -e ${release} ]; do sleep 0.2; done; echo after`;
    const command = { kind: "command" as const, input: { argv: ["bash", "-c", script] }, require: { nodes: [NodeId.parse(worker)] } };
    const { id } = await stage.all.submit(command);
    await until("its first output", async () => (await printed(stage, id)).length > 0 || undefined);
    let gone: ControlNodeProcess | undefined;
    await strike("a whole control host, cut off and killed", KILLED_MS, async (leader) => {
      bringBack((gone = leader));
      await stage.host(leader.name as ControlName).cut();
      await killWhole(leader);
    });
    expect(await printed(stage, id)).toEqual(["1.0 before\n"]);
    await writeFile(release, "");
    expect(await untilOver({ client: stage.all }, id)).toMatchObject({ state: "succeeded", attempt: 1, node: worker });
    expect(await printed(stage, id)).toEqual(["1.0 before\n", "1.1 after\n"]);
    expect((await stage.trio.leader()).name).not.toBe(gone?.name);
  });

  test.for([
    ["the two that stand by are killed", false, false],
    ["the two that stand by are cut off", false, true],
    ["the leader and another one are killed", true, false],
    ["the leader and another one are cut off", true, true],
  ] as const)(
    "%s: reads say that they are old, writes are refused, what runs goes on",
    { timeout: TEST_MS },
    async ([what, withLeader, cut]) => {
      const release = path.join(stage.home(WORKER_NAMES[0]), what.replaceAll(" ", "-"));
      const argv = ["bash", "-c", `until [ -e ${release} ]; do sleep 0.2; done`];
      const begun = WORKER_NAMES.map(async (worker) => {
        const { id } = await stage.all.submit({ kind: "command", input: { argv }, require: { nodes: [NodeId.parse(worker)] } });
        await untilState({ client: stage.all }, id, "running");
        return { id, worker };
      });
      const running = await Promise.all(begun);
      const leader = await stage.trio.leader();
      const [other, third] = stage.others(leader.name) as [ControlNodeProcess, ControlNodeProcess];
      const [gone, name] = withLeader ? [[other, leader] as const, third.name] : [[other, third] as const, leader.name];
      const goneAt = performance.now();
      for (const one of gone) {
        bringBack(one);
        await (cut ? stage.host(one.name as ControlName).cut() : killWhole(one));
      }
      const stale = await until(
        "a read that says that it is old",
        async () => {
          const { headers } = await askRaw(stage, name, "GET", `/tasks/${running[0]?.id}`);
          return headers.get(STALE_HEADER) ?? undefined;
        },
        STOPPED_MS * PATIENCE,
      );
      process.stdout.write(`${what}: reads are marked (${stale} ms) ${seconds(performance.now() - goneAt)} after that\n`);
      const seen = await stage.only(name).cluster();
      expect(seen.standsBy?.staleMs).toBeGreaterThan(0);
      for (const task of running)
        expect(await stage.only(name).getTask({ id: task.id })).toMatchObject({ state: "running", node: task.worker });
      const refused = await askRaw(stage, name, "POST", "/tasks", { kind: "echo", input: { value: 1 } });
      process.stdout.write(`${what}: a write gets ${refused.status} ${refused.text.slice(0, 200)}\n`);
      expect(refused.status).toBe(503);
      expect(JSON.parse(refused.text)).toMatchObject({ code: "unavailable" });
      await delay(Math.max(0, goneAt + WELL_OVER_MS - performance.now()));
      const waiting = stage.all.submit({ kind: "echo", input: { value: "waited" } });
      const healedAt = performance.now();
      await (cut ? stage.host(other.name as ControlName).heal() : other.start());
      const { id: waited } = await waiting;
      process.stdout.write(`${what}: a submit is accepted ${seconds(performance.now() - healedAt)} after one is back\n`);
      expect(await untilOver({ client: stage.all }, waited)).toMatchObject({ state: "succeeded", result: "waited" });
      await writeFile(release, "");
      for (const { id: its, worker } of running)
        expect(await untilOver({ client: stage.all }, its, OVER_MS)).toMatchObject({ state: "succeeded", attempt: 1, node: worker });
      await (cut ? stage.host(gone[1].name as ControlName).heal() : gone[1].start());
      await stage.whole();
    },
  );
});

interface RawAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Asks one control node, once. */
async function askRaw(stage: ControlHosts, name: string, method: string, place: string, body?: object): Promise<RawAnswer> {
  const answer = await fetch(`http://127.0.0.1:${stage.doorOf(name)}/api/v1${place}`, {
    method,
    headers: { authorization: `Bearer ${stage.token}`, "content-type": "application/json" },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status: answer.status, headers: answer.headers, text: await answer.text() };
}

/** With the attempt and the number of each piece. */
async function printed({ all }: ControlHosts, id: TaskId): Promise<string[]> {
  const pieces: string[] = [];
  for await (const { attempt, n, stream, text } of all.logs(id)) if (stream === "stdout") pieces.push(`${attempt}.${n} ${text}`);
  return pieces;
}

const seconds = (ms = Number.NaN): string => `${(ms / 1_000).toFixed(1)} s`;

/** Figures for a person. */
function tell(what: string, { accepted, gapMs, longestMs, drainedMs, repeated, refusals }: LoadSeen): void {
  const load = loadavg()[0]?.toFixed(1);
  process.stdout.write(
    `${what}: nothing was accepted for ${seconds(gapMs)}, no submit took longer than ${seconds(longestMs)}; ${accepted} accepted at ` +
      `${PER_SECOND}/s, ${refusals.length} refused, ${repeated} run again, all over ${seconds(drainedMs)} later (load ${load})\n`,
  );
}
