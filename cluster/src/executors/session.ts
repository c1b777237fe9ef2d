/** In which conversation of which agent a task works. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Gateway } from "../openclaw/openclaw.ts";
import type { Execution } from "./executors.ts";

/**
 * OpenClaw's session keys are `agent:<agent>:<name>`. Without a session the task has one of its own, so that its
 * attempts, and only they, continue each other. A session of another agent than the task names is refused: the policy
 * was asked about the agent, not about the session.
 */
export function chooseSession(
  gateway: Gateway,
  input: { readonly agent?: string | undefined; readonly session?: string | undefined },
  { cluster, offer }: Execution,
): { agent: string; sessionKey: string } {
  const agent = input.agent ?? gateway.defaultAgent;
  const session = input.session ?? `cluster-${cluster}-${offer.task}`;
  if (!session.startsWith("agent:")) return { agent, sessionKey: `agent:${agent}:${session}` };
  if (session.startsWith(`agent:${agent}:`)) return { agent, sessionKey: session };
  throw new ClusterError("bad_request", `The session ${session} belongs to another agent than ${agent}.`);
}
