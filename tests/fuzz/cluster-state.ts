/** Looks at a whole cluster over its API when a campaign is over, and brings its tasks to an end. */
import type { Client } from "@openclaw-cluster/contract/client/client";
import { EMPTY_CHAIN, follow } from "../../cluster/src/trust/audit-chain.ts";
import { listAll, Promises } from "../support/promises.ts";

const LATE_S = 30;
const PAGE = 500;

export async function endAll(client: Client): Promise<void> {
  const open = ["scheduled", "queued", "leased", "running", "waiting"] as const;
  for (let cursor: number | undefined, first = true; first || cursor !== undefined; first = false) {
    const report = await client.bulk({ action: "cancel", filter: { state: [...open] }, ...(cursor !== undefined && { cursor }) });
    cursor = report.next;
  }
}

/** Every promise to every task, the audit log's chain, and that the cluster still works. */
export async function brokenIn(client: Client): Promise<string[]> {
  const found: string[] = [];
  const end = await client.run({ kind: "echo", input: { value: "still here" } });
  if (end.state !== "succeeded") found.push(`a task after all of it is ${end.state}`);
  await endAll(client);
  const promises = new Promises();
  for (const { id } of await listAll(client)) {
    await client.getTask({ id, wait: LATE_S });
    promises.submitted(id);
  }
  return [...found, ...(await promises.broken(client)), ...(await brokenChain(client))];
}

async function brokenChain(client: Client): Promise<string[]> {
  let head = EMPTY_CHAIN;
  for (let more = true; more;) {
    const page = await client.audit({ after: head.seq, limit: PAGE });
    const reading = follow(head, page.entries);
    if (reading.broken !== undefined) return [`the audit log is broken at ${reading.broken}`];
    head = reading.head;
    more = page.next !== undefined;
  }
  return [];
}
