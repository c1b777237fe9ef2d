/** What the demonstration shows, act by act. */
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { Task } from "@openclaw-cluster/contract/task";
import { TERMINAL } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { must, until, type Act } from "./play.ts";
import { SKILL, SKILLED, type Stage } from "./stage.ts";

export interface DemoAct extends Act<Stage> {
  /** Whether it needs OpenClaw. */
  readonly openclaw: boolean;
}

const AT_MOST = { msMax: 120_000 };
const WAIT_S = 30;
/** The model's request must be closed this soon after a cancel. */
const CANCEL_MS = 1_000;
const START_MS = 1_000;

const agent = (message: string, more: Partial<TaskSpec> = {}, skill?: string): TaskSpec =>
  ({ kind: "agent", input: { message, ...(skill !== undefined && { skill }) }, ...more }) as TaskSpec;

export const ACTS: readonly DemoAct[] = [
  {
    title: "agent turns spread over the nodes' Gateways",
    openclaw: true,
    async play(stage) {
      const { client, nodes } = stage;
      const turns = Array.from({ length: Math.max(4, 2 * nodes.length) }, (_, index) =>
        agent(`Say hello, number ${index + 1}.`, { name: `hello ${index + 1}` }),
      );
      const tasks = await finish(stage, turns);
      const asked = new Set(stage.model.requests.map(({ gateway }) => gateway));
      must(asked.size === nodes.length, `the model server heard of ${[...asked].join(", ")}, not of every Gateway`);
      const first = tasks[0] as Task;
      const why = await client.why({ id: first.id });
      const share = nodes.map((node) => `${node} ${tasks.filter((task) => task.node === node).length}`).join(", ");
      return `${tasks.length} turns: ${share}. ${first.id}: ${why.sentence}`;
    },
  },
  {
    title: `a turn that needs the skill ${SKILL} goes to the one node that has it`,
    openclaw: true,
    async play(stage) {
      const [task] = (await finish(stage, [agent("Write the notes for: faster start, two fixes.", { name: "release notes" }, SKILL)])) as [
        Task,
      ];
      must(task.node === SKILLED, `it ran on ${task.node}`);
      return `${task.id} ran on ${task.node}`;
    },
  },
  {
    title: "a command runs on every node",
    openclaw: false,
    async play(stage) {
      const specs = stage.nodes.map((node): TaskSpec => ({
        kind: "command",
        name: `uname on ${node}`,
        input: { argv: ["uname", "-a"] },
        require: { nodes: [NodeId.parse(node)] },
      }));
      const tasks = await finish(stage, specs);
      must(
        tasks.every((task, index) => task.node === stage.nodes[index]),
        "a command ran where it should not",
      );
      const output = (tasks[0]?.result as { stdoutTail?: string } | undefined)?.stdoutTail ?? "";
      return `${tasks.length} commands; the first printed: ${output.trim().slice(0, 60)} …`;
    },
  },
  {
    title: "a running turn is cancelled, and the model's request closes at once",
    openclaw: true,
    async play({ client, model }) {
      const { id } = await client.submit(agent("slow 600", { name: "a long story" }));
      const request = await until(
        () => model.requests.find(({ text, closedAt }) => text.includes("slow 600") && closedAt === undefined),
        "the model was never asked",
        AT_MOST,
      );
      const from = Date.now();
      await client.cancel({ id });
      await until(() => request.closedAt, "the model's request stayed open", AT_MOST);
      const tookMs = (request.closedAt as number) - from;
      must(request.aborted && tookMs <= CANCEL_MS, `the model's request closed after ${tookMs} ms`);
      const task = await until(async () => over(await client.getTask({ id })), "the task did not end", AT_MOST);
      must(task.state === "cancelled", `it ended ${task.state}`);
      return `${id} is cancelled; the model's request closed after ${tookMs} ms`;
    },
  },
  {
    title: "a task that no node can run waits, says why, and starts when one can",
    openclaw: false,
    async play({ client, nodes }) {
      const { id } = await client.submit({
        kind: "echo",
        name: "needs a GPU",
        input: { value: "rendered" },
        require: { labels: { gpu: "yes" } },
      });
      const why = await client.why({ id });
      must(why.refused.length === nodes.length, `only ${why.refused.length} nodes were named`);
      must((await client.getTask({ id })).state === "queued", "it did not wait");
      const from = Date.now();
      await client.patchNode({ id: NodeId.parse(nodes[0]), labels: { gpu: "yes" } });
      const task = await until(async () => over(await client.getTask({ id, wait: WAIT_S })), "it did not start", AT_MOST);
      must(
        task.state === "succeeded" && (task.startedAt ?? Infinity) - from <= START_MS,
        `it ended ${task.state}, ${(task.startedAt ?? NaN) - from} ms after the label came`,
      );
      return `${id}: “${why.sentence}” Then ${nodes[0]} got the label.`;
    },
  },
];

/** Submits, waits for the ends, and insists that they are good. */
async function finish({ client }: Stage, specs: readonly TaskSpec[]): Promise<Task[]> {
  const submitted = await client.submitMany(specs);
  return Promise.all(
    submitted.map(async ({ id }) => {
      const task = await until(async () => over(await client.getTask({ id, wait: WAIT_S })), `${id} did not end`, AT_MOST);
      must(task.state === "succeeded", `${id} ended ${task.state}: ${task.error?.message ?? task.reason}`);
      return task;
    }),
  );
}

function over(task: Task): Task | undefined {
  return TERMINAL.has(task.state) ? task : undefined;
}
