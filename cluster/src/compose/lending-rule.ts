/** A node's rule of what it lends now: its policy, asked at each request, by the clock on the wall and by what the machine runs on. */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { lends, modelRefusal, type LendingMoment } from "../core/model-rule.ts";
import type { LendingRule } from "../models/lines/lending.ts";
import { localTimeZone, type Clock } from "../system/clock.ts";
import type { PowerWatch } from "../system/power.ts";
import type { PolicyFile } from "../worker/policy-file.ts";

/** Quiet hours begin and end without a change of any file. */
const RULE_LOOK_MS = 30_000;

export interface LendingRuleParts {
  readonly node: NodeId;
  readonly policy: Pick<PolicyFile, "current" | "onChange">;
  readonly power: PowerWatch;
  readonly clock: Clock;
}

export function lendingRule({ node, policy, power, clock }: LendingRuleParts): LendingRule {
  const moment = (): LendingMoment => ({ now: clock.wall(), timeZone: localTimeZone(), onBattery: power.onBattery });
  return {
    lends: (model) => lends(policy.current(), model.id, moment()),
    get onBattery() {
      return power.onBattery;
    },
    // Its own requests need no leave.
    refusal: (model, asker) => (asker.token === node ? undefined : modelRefusal(policy.current(), model, asker, moment())),
    onChange(listener) {
      const listening = [policy.onChange(listener), power.onChange(listener)];
      let timer = clock.after(RULE_LOOK_MS, function look() {
        listener();
        timer = clock.after(RULE_LOOK_MS, look);
      });
      return {
        stop() {
          for (const one of listening) one.stop();
          timer.cancel();
        },
      };
    },
  };
}
