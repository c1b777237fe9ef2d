/** `npm start -- --ha`: three control nodes, one that is killed, one that hands over, and what became of the tasks meanwhile. */
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { TERMINAL } from "@openclaw-cluster/contract/task";
import type { Trio } from "../control-trio.ts";
import { must, until, type Act } from "./play.ts";

/** Tasks that are accepted each second while something happens to the leader. */
const PACE_MS = 50;
const WAIT_S = 30;
const TAIL_MS = 2_000;
/** docs/high-availability.md promises 10 s; a busy machine gets more here. */
const SWITCH_MS_MAX = 30_000;
const AT_MOST = { msMax: SWITCH_MS_MAX, lookMs: 200 };

export const HA_ACTS: readonly Act<Trio>[] = [
  {
    title: "two machines that only worked become control nodes",
    async play(trio) {
      const [, ...others] = trio.names;
      await trio.promote(...others);
      // The bus's servers become one a moment later.
      const {
        control = [],
        store,
        bus,
      } = await until(
        async () => {
          const view = await trio.client.cluster();
          return view.bus.servers?.length === trio.names.length ? view : undefined;
        },
        "the bus's servers did not become one",
        AT_MOST,
      );
      must(control.length === trio.names.length, `${control.length} control nodes are told of`);
      return `${control.map(({ node, state }) => `${node} ${state}`).join(", ")}; etcd has ${store.members?.length ?? 0} members, and ${bus.servers?.length ?? 0} nats-servers are one`;
    },
  },
  {
    title: "the leader is killed (kill -9) while tasks come in",
    play: (trio) => strike(trio, "kill"),
  },
  {
    title: "the one that was killed comes back, and stands by",
    async play(trio) {
      const [gone] = trio.names.filter((name) => !trio.isUp(name));
      must(gone !== undefined, "nobody is away");
      await trio.node(gone as string).start();
      const { control = [] } = await trio.client.cluster();
      return control.map(({ node, state }) => `${node} ${state}`).join(", ");
    },
  },
  {
    title: "the leader is stopped in good order, and hands over",
    play: (trio) => strike(trio, "stop"),
  },
];

/** What happens to the leader, under a steady stream of tasks of which none may be lost or run twice. */
async function strike(trio: Trio, how: "kill" | "stop"): Promise<string> {
  const leader = await trio.leader();
  const stream = openStream(trio.client);
  await stream.accepted(10);
  const struckAt = performance.now();
  const ending = leader[how]();
  await ending;
  const tookMs = await stream.nextAcceptedAfter(struckAt);
  await new Promise((wake) => setTimeout(wake, TAIL_MS));
  const { ids, longestMs } = await stream.stop();
  const next = await trio.leader();
  must(next.name !== leader.name, `${leader.name} leads still`);
  must(tookMs < SWITCH_MS_MAX, `nothing was accepted for ${seconds(tookMs)}`);
  must(new Set(ids).size === ids.length, "a task was accepted twice");
  const ends = await Promise.all(ids.map((id) => end(trio.client, id)));
  const bad = ends.find(({ state }) => state !== "succeeded");
  must(bad === undefined, `${bad?.id} ended ${bad?.state}`);
  return `${leader.name} led, ${next.name} leads now; no submit waited longer than ${seconds(longestMs)}; all ${ids.length} tasks that were accepted have succeeded`;
}

interface Stream {
  accepted(count: number): Promise<void>;
  /** How long after that moment the first one was accepted that was sent after it. */
  nextAcceptedAfter(at: number): Promise<number>;
  stop(): Promise<{ ids: readonly TaskId[]; longestMs: number }>;
}

function openStream(client: Client): Stream {
  const ids: TaskId[] = [];
  const taken: { sentAt: number; at: number }[] = [];
  const under: Promise<void>[] = [];
  const submit = async (): Promise<void> => {
    const sentAt = performance.now();
    const { id } = await client.submit({ kind: "echo", name: "steady", input: { value: taken.length } });
    ids.push(id);
    taken.push({ sentAt, at: performance.now() });
  };
  const timer = setInterval(() => under.push(submit()), PACE_MS);
  const waitFor = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise((wake) => setTimeout(wake, 10));
  };
  return {
    accepted: (count) => waitFor(() => ids.length >= count),
    async nextAcceptedAfter(at) {
      await waitFor(() => taken.some(({ sentAt }) => sentAt > at));
      return Math.min(...taken.filter(({ sentAt }) => sentAt > at).map((one) => one.at)) - at;
    },
    async stop() {
      clearInterval(timer);
      await Promise.all(under);
      return { ids, longestMs: Math.max(...taken.map(({ sentAt, at }) => at - sentAt)) };
    },
  };
}

async function end(client: Client, id: TaskId): Promise<{ id: TaskId; state: string }> {
  for (;;) {
    const task = await client.getTask({ id, wait: WAIT_S });
    if (TERMINAL.has(task.state)) return task;
  }
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
