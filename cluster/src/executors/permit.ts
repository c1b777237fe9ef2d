/** What the node's policy says of an attempt at this very moment, for executors whose work is done elsewhere (X4). */
import { admit, mayGoOn, type PolicySource } from "../core/policy.ts";
import { localTimeZone, type Clock } from "../system/clock.ts";
import type { Execution } from "./executors.ts";

export interface PolicyParts {
  readonly policy: PolicySource;
  readonly clock: Clock;
}

/** undefined: yes; else why not. */
export function ask(
  { policy, clock }: PolicyParts,
  { node, offer: { spec, submitter } }: Pick<Execution, "node" | "offer">,
  step: "begin" | "go_on" = "begin",
): string | undefined {
  const rules = policy.current();
  const decision =
    step === "go_on"
      ? mayGoOn(rules, { spec, submitter })
      : admit(rules, { spec, submitter }, { node, now: clock.wall(), timeZone: localTimeZone() });
  return decision.allow ? undefined : decision.reason;
}
