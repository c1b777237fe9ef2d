/** What is wrong with high availability, in words for people, with what it means. */
import type { ControlNode, StoreMember } from "@openclaw-cluster/contract/cluster";
import type { ControlView } from "../coordinator/control-view.ts";
import { majorityOf } from "../store/etcd-quorum.ts";

/** A control node that is farther behind shows what is old, and takes that much longer to take over. */
const LAG_MS_MAX = 5_000;

export function problemsIn({ nodes, members }: Pick<ControlView, "nodes" | "members">): string[] {
  return [...nodeProblems(nodes), ...storeProblems(members)];
}

function nodeProblems(nodes: readonly ControlNode[]): string[] {
  const away = nodes.filter(({ state }) => state === "away");
  const problems = away.map(({ node }) => `The control node ${node} is away: start its daemon there, or put another in its place.`);
  const left = nodes.length - away.length;
  if (away.length > 0) problems.push(`${left} of ${nodes.length} control nodes ${left === 1 ? "is" : "are"} left.`);
  for (const { node, state, lagMs = 0 } of nodes) {
    if (state === "standby" && lagMs > LAG_MS_MAX)
      problems.push(
        `The control node ${node} is ${Math.round(lagMs / 1_000)} s behind: what it shows is old, and it would take over late.`,
      );
  }
  return problems;
}

function storeProblems(members: readonly StoreMember[] | undefined): string[] {
  if (members === undefined) return ["No etcd member answers: nothing can be written until most of them do."];
  const problems = members
    .filter(({ state }) => state === "away")
    .map(({ id, name, urls: [url] }) => `The etcd member ${name || id} does not answer${url === undefined ? "" : ` at ${url}`}.`);
  const voters = members.filter(({ state }) => state !== "learner");
  const answering = voters.filter(({ state }) => state !== "away").length;
  const needed = majorityOf(voters.length);
  if (answering < needed)
    problems.push(`${answering} of ${voters.length} etcd members answer, and it takes ${needed}: nothing can be written until then.`);
  else if (answering < voters.length && answering === needed)
    problems.push(`${answering} of ${voters.length} etcd members are left: with one fewer nothing can be written.`);
  return problems;
}
