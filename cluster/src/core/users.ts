/**
 * Who may use a node: a policy's patterns over the users for whom tasks are submitted.
 *
 * U1. A pattern is for the user's name; one that begins with `token:` is for the id of the token, and no name can pass for that.
 * U2. Whose name is not known is nobody whom a name allows, and anybody whom a name denies. `*` alone allows everyone.
 */
import type { Submitter } from "@openclaw-cluster/contract/submitter";
import { z } from "zod";
import { matches } from "./command-rule.ts";

/** All of them stand in the node's facts. */
const Patterns = z.array(z.string().min(1).max(128)).max(64);

export const Users = z.strictObject({ allow: Patterns.default(["*"]), deny: Patterns.default([]) });
export type Users = z.infer<typeof Users>;

const ID = "token:";

/** `rule`: the pattern that said so; absent where none allows. */
export type UserVerdict = { readonly allow: true; readonly rule: string } | { readonly allow: false; readonly rule?: string };

export function judgeUser({ allow, deny }: Users, submitter: Submitter | undefined): UserVerdict {
  const denied = deny.find((pattern) => means(pattern, submitter, true));
  if (denied !== undefined) return { allow: false, rule: denied };
  const allowed = allow.find((pattern) => means(pattern, submitter, false));
  return allowed === undefined ? { allow: false } : { allow: true, rule: allowed };
}

function means(pattern: string, submitter: Submitter | undefined, unknown: boolean): boolean {
  if (pattern === "*") return true;
  if (pattern.startsWith(ID)) return submitter === undefined ? unknown : matches(pattern.slice(ID.length), submitter.token);
  return submitter?.name === undefined ? unknown : matches(pattern, submitter.name);
}

/** For people. */
export function userText(submitter: Submitter | undefined): string {
  if (submitter === undefined) return "a user that is not known";
  return submitter.name === undefined ? `the user of token ${submitter.token}` : `the user ${submitter.name}`;
}
