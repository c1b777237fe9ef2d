import { expect, test } from "vitest";
import { chooseModel } from "./choose.ts";
import { CHAT, IDLE, lent } from "./fixtures.ts";
import { ModelRates } from "./model-rates.ts";
import { placeWeight } from "./place-weight.ts";

test("a machine on its battery weighs half as much again, and any other nothing (W1)", () => {
  expect(placeWeight(lent("a", "m", { onBattery: true }))).toBe(1.5);
  expect(placeWeight(lent("a", "m", { onBattery: false }))).toBe(1);
  expect(placeWeight(lent("a", "m"))).toBe(1);
});

test("so of two alike the one on mains is asked, and one on its battery that is clearly quicker all the same", () => {
  const chosen = (batteryMs: number, mainsMs: number): string | undefined => {
    const models = [lent("battery", "m", { onBattery: true }), lent("mains", "m")];
    const load = ({ node }: { readonly node: string }) => ({ ...IDLE, roundTripMs: node === "mains" ? mainsMs : batteryMs });
    const view = { load, hit: () => 0, breakerMs: () => 0, forbidden: () => undefined, weight: placeWeight };
    const choice = chooseModel({ groups: [{ name: "m", models }], needs: CHAT, view, rates: new ModelRates(), requestHash: 1 });
    return choice.kind === "chosen" ? choice.candidates[0]?.model.node : undefined;
  };
  expect(chosen(1, 1)).toBe("mains");
  expect(chosen(1, 60_000)).toBe("battery");
});
