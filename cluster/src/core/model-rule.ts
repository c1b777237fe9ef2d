/**
 * A node's rule of which language models it lends, to whom and when: what policy.yaml says of models, users and hours.
 *
 * L1. The node's own requests need no leave. Deny wins over allow.
 */
import type { Submitter } from "@openclaw-cluster/contract/submitter";
import { matches } from "./command-rule.ts";
import type { Policy } from "./policy.ts";
import { isQuiet, type Moment } from "./quiet-hours.ts";
import { judgeUser, userText } from "./users.ts";

/** Is it lent to anybody, at that moment? */
export function lends({ allow, deny, hours }: Policy, model: string, moment: Moment): boolean {
  const isNamed = (patterns: readonly string[]): boolean => patterns.some((pattern) => matches(pattern, model));
  return isNamed(allow.models) && !isNamed(deny.models) && (hours === undefined || !isQuiet(hours, moment));
}

/** Why it is not lent to that one at that moment, for people; undefined: it is. */
export function modelRefusal(policy: Policy, model: string, asker: Submitter, moment: Moment): string | undefined {
  if (!lends(policy, model, moment)) return `${model} is not lent at the moment`;
  const user = policy.users && judgeUser(policy.users, asker);
  return user?.allow === false ? `${userText(asker)} may not use this node` : undefined;
}
