/** OpenClaw Cluster as a subject: the public HTTP client, as any program would use it. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import { openClient } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { nowMs, type Subject } from "./subject.ts";

const echo = (value: string): TaskSpec => ({ kind: "echo", input: { value } });
/** No node has this label, so the task stays queued. */
const parked = (value: string): TaskSpec => ({ kind: "echo", input: { value }, require: { labels: { bench: "nobody" } } });

/** The coordinator's token and its authority lie in the same folder. */
async function trustBeside(url: string, tokenFile: string): Promise<Trust | undefined> {
  if (!url.startsWith("https:")) return undefined;
  const file = path.join(path.dirname(tokenFile), "data", "authority.pem");
  return { authorities: [await readFile(file, "utf8")], file };
}

export async function openClusterSubject(url: string, tokenFile: string): Promise<Subject> {
  const token = (await readFile(tokenFile, "utf8")).trim();
  const client = openClient({ url, token, transport: nodeTransport(await trustBeside(url, tokenFile)) });
  const run = async (payload: string): Promise<{ startedAt: number }> => {
    const task = await client.run(echo(payload));
    if (task.state !== "succeeded") throw new Error(`${task.id} ended ${task.state}: ${JSON.stringify(task.error)}`);
    return { startedAt: task.startedAt ?? Number.NaN };
  };
  return {
    runOne: async (payload) => void (await run(payload)),
    runArray: async (payloads) => {
      const tasks = await client.runMany(payloads.map(echo));
      const failed = tasks.find((task) => task.state !== "succeeded");
      if (failed !== undefined) throw new Error(`${failed.id} ended ${failed.state}`);
    },
    submitOne: async (payload) => void (await client.submit(parked(payload))),
    submitArray: async (payloads) => void (await client.submitMany(payloads.map(parked))),
    timeOne: async (payload) => {
      const from = nowMs();
      const { startedAt } = await run(payload);
      return { startMs: startedAt - from, resultMs: nowMs() - from };
    },
    close: () => client.close(),
  };
}
