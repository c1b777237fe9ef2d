/**
 * What a time at a place weighs for its owner: the cost of a place that somebody would rather be spared is multiplied by it, so that
 * it is asked where it is clearly quicker, or where there is no other.
 *
 * W1. Never below 1: nothing makes a place quicker than it is.
 */
import type { LentModel } from "@openclaw-cluster/contract/models";

/** A machine that lends on its battery gives away time of its owner's on the road. The formula: E · [1 + 0.5 · onBattery]. */
const ON_BATTERY = 0.5;

export function placeWeight({ onBattery }: Pick<LentModel, "onBattery">): number {
  return 1 + (onBattery === true ? ON_BATTERY : 0);
}
