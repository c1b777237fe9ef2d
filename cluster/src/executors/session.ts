/** In which conversation of which agent a task works (core/session-rule.ts): the same one in each attempt, on each node. */
import { createHash } from "node:crypto";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Submitter } from "@openclaw-cluster/contract/submitter";
import { ownerWord, ownSession, readSession, taskSession } from "../core/session-rule.ts";
import type { Gateway } from "../openclaw/openclaw.ts";
import type { Execution } from "./executors.ts";

/** 128 bits: nobody finds a second user's name with the same ones. As small letters, because OpenClaw folds capitals. */
const OWNER_CHARS = 32;

/**
 * OpenClaw's session keys are `agent:<agent>:<name>`. A session of another agent than the task names is refused: the policy
 * was asked about the agent, not about the session.
 */
export function chooseSession(
  gateway: Pick<Gateway, "defaultAgent">,
  input: { readonly agent?: string | undefined; readonly session?: string | undefined },
  { cluster, offer }: Pick<Execution, "cluster" | "offer">,
): { agent: string; sessionKey: string } {
  const agent = input.agent ?? gateway.defaultAgent;
  const wanted = readSession(input.session);
  const keyed = (name: string): { agent: string; sessionKey: string } => ({ agent, sessionKey: `agent:${agent}:${name}` });
  switch (wanted.kind) {
    case "task":
      return keyed(taskSession(cluster, offer.task));
    case "own": {
      const owner = ownerMark(offer.submitter);
      // Nobody's: nothing begins in it (core/policy.ts), but what a version of before there were owners began is found here, and stopped.
      return keyed(owner === undefined ? wanted.name : ownSession(cluster, owner, wanted.name));
    }
    case "machine":
      if (wanted.agent === undefined || wanted.agent === agent.toLowerCase()) return keyed(wanted.name);
      throw new ClusterError("bad_request", `The session ${input.session} belongs to another agent than ${agent}.`);
  }
}

/** Not the name itself: it may hold any characters, and OpenClaw would take Ann for ann. */
function ownerMark(submitter: Submitter | undefined): string | undefined {
  const word = ownerWord(submitter);
  return word === undefined ? undefined : createHash("sha256").update(word).digest("hex").slice(0, OWNER_CHARS);
}
