/**
 * This machine's side of becoming a control node, and a worker again, as its coordinator orders it over the bus.
 *
 * P1. Whoever owns the machine may refuse: `control.promote: never`. A control node listens for others, and keeps the cluster's keys.
 * P2. A key for the box is made for one order and forgotten with it; one order is under way at a time.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { PromotionOrder, type PromotionAnswer } from "@openclaw-cluster/contract/wire";
import type { Bus, Message, Subscription } from "../bus/bus.ts";
import { promotionTo } from "../bus/subjects.ts";
import { createReader, HANDOVER, type Reader } from "../trust/sealed-box.ts";
import type { Ground } from "./ground.ts";
import { forgetControl, takeHandover } from "./handover.ts";

/** Whoever asked for it may have asked through this very machine, and waits for the answer. */
const REOPEN_MS = 1_500;

export function listenForPromotion(ground: Ground, bus: Pick<Bus, "subscribe">): Subscription {
  const { config, clock, log } = ground;
  let reader: Reader | undefined;
  let last: Promise<unknown> = Promise.resolve();

  const carryOut = async (order: PromotionOrder): Promise<PromotionAnswer> => {
    if (order.kind === "demote") {
      await forgetControl(ground, order.urls);
      return { done: true };
    }
    if (config.control.promote === "never") return { refused: "its owner has set control.promote to never" };
    if (order.kind === "prepare") {
      reader = createReader();
      return { key: reader.key };
    }
    const prepared = reader;
    reader = undefined;
    if (prepared === undefined) return { refused: "it was not asked to prepare for that" };
    await takeHandover(ground, prepared.open(order.sealed, HANDOVER));
    return { done: true };
  };
  const hear = async ({ body, respond }: Message): Promise<void> => {
    const read = PromotionOrder.safeParse(body);
    if (!read.success) return respond?.({ refused: "it does not understand this" } satisfies PromotionAnswer);
    try {
      const answer = await carryOut(read.data);
      respond?.(answer);
      if (!("done" in answer)) return;
      log.info({ order: read.data.kind }, "this machine is another in its cluster now; the daemon begins anew");
      clock.after(REOPEN_MS, () => ground.reopen());
    } catch (error) {
      log.error({ err: error, order: read.data.kind }, "an order of the coordinator could not be carried out");
      respond?.({
        refused: error instanceof ClusterError ? error.detail : "it could not write its files; its log says why",
      } satisfies PromotionAnswer);
    }
  };
  return bus.subscribe(promotionTo(config.nodeId), (message) => void (last = last.then(() => hear(message))));
}
