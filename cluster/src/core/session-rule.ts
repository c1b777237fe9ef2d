/**
 * Which conversation of a machine's OpenClaw a task means by the name of a session. OpenClaw does not tell capitals from
 * small letters in such names, so nobody here does.
 *
 * K1. A plain name is its submitter's own, on every node: with one name two users have two conversations.
 * K2. Without a name a task has a conversation of its own; no other task can name it, that of its own user neither.
 * K3. What leads to a conversation of the machine (`main`, `agent:…`) or of the cluster's tasks (`cluster-…`) does so only
 *     where the policy's list allow.sessions says it. A star in that list never means one of the cluster's tasks.
 */
import type { Submitter } from "@openclaw-cluster/contract/submitter";
import { matches } from "./command-rule.ts";

export type WantedSession =
  | { readonly kind: "task" }
  | { readonly kind: "own"; readonly name: string }
  /** `name`: as it stands in OpenClaw's key, behind the agent. `agent`: there where the whole key was given. */
  | { readonly kind: "machine"; readonly name: string; readonly agent?: string };

/** OpenClaw's own word for an agent's first conversation, which is its owner's. */
const MAIN = "main";
/** Every session that the cluster makes begins so. */
const OURS = "cluster-";
const WHOLE_KEY = /^agent:([^:]*):(.*)$/;

export function readSession(session: string | undefined): WantedSession {
  if (session === undefined) return { kind: "task" };
  const name = session.toLowerCase();
  const whole = WHOLE_KEY.exec(name);
  if (whole !== null) return { kind: "machine", agent: whole[1] as string, name: whole[2] as string };
  return name === MAIN || name.startsWith(OURS) || name.startsWith("agent:") ? { kind: "machine", name } : { kind: "own", name };
}

/** The name that only a policy opens; undefined for what needs no leave. */
export function machineSession(session: string | undefined): string | undefined {
  const wanted = readSession(session);
  return wanted.kind === "machine" ? wanted.name : undefined;
}

/** The pattern of allow.sessions that opens it. */
export function sessionRule(patterns: readonly string[], name: string): string | undefined {
  // OpenClaw would take what begins with a colon, or is nothing, for another form of key.
  if (!/^[a-z0-9]/.test(name)) return undefined;
  return patterns.find((one) => {
    const pattern = one.toLowerCase();
    return matches(pattern, name) && (!name.startsWith(OURS) || pattern.startsWith(OURS));
  });
}

/** A session by name, and nobody knows whose. */
export function isNobodys(session: string | undefined, submitter: Submitter | undefined): boolean {
  return readSession(session).kind === "own" && ownerWord(submitter) === undefined;
}

/** Whose a session is: the user, or the token of a task of before there were users. One is never mistaken for the other. */
export function ownerWord(submitter: Submitter | undefined): string | undefined {
  if (submitter?.name !== undefined && submitter.name !== "") return JSON.stringify(["user", submitter.name]);
  return submitter === undefined || submitter.token === "" ? undefined : JSON.stringify(["token", submitter.token]);
}

/** What OpenClaw calls a session that the cluster makes; `owner` as letters and digits of one length. */
export const ownSession = (cluster: string, owner: string, name: string): string => `${OURS}${cluster}-u-${owner}-${name}`;
export const taskSession = (cluster: string, task: string): string => `${OURS}${cluster}-${task}`;
