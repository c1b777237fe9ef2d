/**
 * A node's rule of which language models it lends, to whom and when: what policy.yaml says of models, users, hours and battery.
 *
 * L1. The node's own requests need no leave. Deny wins over allow.
 * L2. A machine that runs on its battery lends nothing, unless its owner has said that it does.
 */
import type { Submitter } from "@openclaw-cluster/contract/submitter";
import { matches } from "./command-rule.ts";
import type { Policy } from "./policy.ts";
import { isQuiet, type Moment } from "./quiet-hours.ts";
import { judgeUser, userText } from "./users.ts";

/** When, and how the machine is fed then. */
export interface LendingMoment extends Moment {
  /** One without a battery, or whose state is not known, is not. */
  readonly onBattery: boolean;
}

/** Is it lent to anybody, at that moment? */
export function lends(policy: Policy, model: string, moment: LendingMoment): boolean {
  return isOpen(policy, model, moment) && !isSpared(policy, moment);
}

/** Why it is not lent to that one at that moment, for people; undefined: it is. */
export function modelRefusal(policy: Policy, model: string, asker: Submitter, moment: LendingMoment): string | undefined {
  if (!isOpen(policy, model, moment)) return `${model} is not lent at the moment`;
  if (isSpared(policy, moment)) return `${model} is not lent while its machine runs on its battery`;
  const user = policy.users && judgeUser(policy.users, asker);
  return user?.allow === false ? `${userText(asker)} may not use this node` : undefined;
}

function isOpen({ allow, deny, hours }: Policy, model: string, moment: Moment): boolean {
  const isNamed = (patterns: readonly string[]): boolean => patterns.some((pattern) => matches(pattern, model));
  return isNamed(allow.models) && !isNamed(deny.models) && (hours === undefined || !isQuiet(hours, moment));
}

/** L2. */
const isSpared = ({ battery }: Policy, { onBattery }: LendingMoment): boolean => onBattery && !battery.models;
