import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isForfeit, isMassLoss, lostAfterMs, leaseMs, MASS_HOLD_MS, SUSPECT_MS, withSilence, type Silence } from "./liveness.ts";

/** What an executor may take to stop with manners (STOP_MS in executors.ts). */
const STOP_MS = 3_000;
const LAPTOP = { laptop: "yes" };
const lostMs = lostAfterMs({});

const node = (state: Silence["state"], silentMs: number, its = lostMs): Silence => ({ state, silentMs, lostMs: its });

describe("a node's silence", () => {
  it("makes it suspect, then lost; only a word makes it ready again", () => {
    expect(withSilence("ready", SUSPECT_MS - 1, lostMs)).toBe("ready");
    expect(withSilence("ready", SUSPECT_MS, lostMs)).toBe("suspect");
    expect(withSilence("suspect", 0, lostMs)).toBe("ready");
    expect(withSilence("ready", lostMs, lostMs)).toBe("lost");
    expect(withSilence("lost", 0, lostMs)).toBe("lost");
    expect(withSilence("offline", lostMs, lostMs)).toBe("offline");
    expect(withSilence("asleep", lostMs, lostMs)).toBe("asleep");
  });

  it("has more patience with a laptop, whose leases are longer by as much", () => {
    expect(lostAfterMs(LAPTOP)).toBe(60_000);
    expect(leaseMs(LAPTOP) - leaseMs({})).toBe(lostAfterMs(LAPTOP) - lostMs);
    expect(lostAfterMs({ laptop: "no" })).toBe(lostMs);
  });

  it("V1: a worker has stopped its work, with manners, before the task is given away", () => {
    for (const labels of [{}, LAPTOP]) expect(leaseMs(labels) + STOP_MS).toBeLessThan(lostAfterMs(labels));
  });
});

describe("a mass loss", () => {
  const [here, gone] = [node("ready", 1_000), node("lost", lostMs)];

  it("is more than half of the nodes, and never a single one", () => {
    expect(isMassLoss([gone])).toBe(false);
    expect(isMassLoss([gone, here])).toBe(false);
    expect(isMassLoss([gone, gone, here, here])).toBe(false);
    expect(isMassLoss([gone, gone, here])).toBe(true);
    expect(isMassLoss([gone, node("suspect", SUSPECT_MS)])).toBe(true);
  });

  it("does not count those that said goodbye, nor those that are long gone", () => {
    expect(isMassLoss([node("offline", lostMs), node("asleep", lostMs), gone])).toBe(false);
    expect(isMassLoss([node("lost", lostMs + MASS_HOLD_MS), node("lost", lostMs + MASS_HOLD_MS), here])).toBe(false);
  });

  it("V2: nothing is given away early, and everything in the end", () => {
    const states = fc.constantFrom<Silence["state"]>("ready", "suspect", "lost", "offline", "asleep");
    fc.assert(
      fc.property(states, fc.nat(200_000), fc.boolean(), fc.boolean(), (state, silentMs, laptop, massLoss) => {
        const its = lostAfterMs(laptop ? LAPTOP : {});
        const forfeit = isForfeit(node(state, silentMs, its), massLoss);
        if (silentMs < its) expect(forfeit).toBe(false);
        else if (silentMs >= its + MASS_HOLD_MS || !massLoss) expect(forfeit).toBe(true);
        else expect(forfeit).toBe(state === "offline" || state === "asleep");
      }),
    );
  });
});
