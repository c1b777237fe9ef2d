/**
 * Waits until a node that takes no new work has ended what it had, so that a person knows when its machine may be
 * switched off. Ctrl-C leaves it draining.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Node } from "@openclaw-cluster/contract/node";
import { INTERRUPTED } from "./follow.ts";
import type { Session } from "./session.ts";
import { remark } from "./terminal.ts";

const EVERY_MS = 500;
/** Named while it waits; `ps --node` lists them all. */
const NAMED_MAX = 5;

/** The exit code: 0 when nothing is left there, 1 when somebody gave the node new work again, 130 after Ctrl-C. */
export async function waitUntilDrained(session: Session, id: NodeId): Promise<number> {
  const client = await session.client();
  const leave = new AbortController();
  const interrupt = session.terminal.onInterrupt(() => leave.abort());
  let told = "";
  try {
    for (;;) {
      const node = await client.node({ id }, { signal: leave.signal });
      if (!node.draining || node.slotsUsed === 0) return await tellEnd(session, client, node);
      const news = session.terminal.errColumns === undefined ? "" : await whatRuns(client, node, leave.signal);
      if (news !== told) remark(session.terminal, news);
      told = news;
      await pause(EVERY_MS, undefined, { signal: leave.signal });
    }
  } catch (error) {
    if (!leave.signal.aborted) throw error;
    remark(session.terminal, `\n${id} goes on draining; give it new work again: ${session.typed(`nodes resume ${id}`)}`);
    return INTERRUPTED;
  } finally {
    interrupt.stop();
  }
}

async function whatRuns(client: Client, { id }: Node, signal: AbortSignal): Promise<string> {
  const { tasks, next } = await client.listTasks({ node: id, state: ["leased", "running", "cancelling"], limit: NAMED_MAX }, { signal });
  return `${id} still has ${tasks.map((task) => task.id).join(", ")}${next === undefined ? "" : " and more"}`;
}

async function tellEnd(session: Session, client: Client, node: Node): Promise<number> {
  const drained = node.draining;
  const leads = (await client.cluster()).coordinator === node.id;
  const rest = leads ? "; but it runs the coordinator, without which the cluster stands still" : "";
  session.show({ drained, coordinator: leads, node }, () =>
    drained
      ? `${node.id} has nothing to do any more: its machine may be switched off${rest}\n`
      : `${node.id} takes new work again: somebody resumed it\n`,
  );
  return drained ? 0 : 1;
}
