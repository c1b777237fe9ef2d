import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lent } from "./fixtures.ts";
import { bytesPerWeight, ModelRates } from "./model-rates.ts";

const model = lent("a", "m");

describe("rates", () => {
  it("are guessed by size and quantisation, larger slower (L3)", () => {
    const rates = new ModelRates();
    const large = lent("a", "l", { sizeBytes: 20e9 });
    expect(rates.readMs(large)).toBeGreaterThan(rates.readMs(model));
    expect(rates.writeMs(large, 0)).toBe(50);
    expect(rates.loadMs(large)).toBe(11_000);
    expect(rates.readMs({ ...model, quantization: "F16" })).toBeLessThan(rates.readMs({ ...model, quantization: "Q4_K_M" }));
    expect(rates.writeMs(model, 3)).toBeGreaterThan(rates.writeMs(model, 0));
    expect([bytesPerWeight("F16"), bytesPerWeight("8bit"), bytesPerWeight(undefined), bytesPerWeight("odd")]).toEqual([
      2,
      8.5 / 8,
      4.5 / 8,
      4.5 / 8,
    ]);
  });

  it("are learned at once, and shift the guess about the endpoint's others (L2)", () => {
    const rates = new ModelRates();
    const [other, elsewhere] = [lent("a", "other"), lent("b", "other")];
    const [before, far] = [rates.readMs(other), rates.readMs(elsewhere)];
    rates.learnRead(model, 1_000, 10_000, 0);
    expect(rates.readMs(model)).toBeCloseTo(10);
    expect(rates.readMs(other) / before).toBeCloseTo(10 / before);
    expect(rates.readMs(elsewhere)).toBe(far);
  });

  it("count the company in which they were measured out", () => {
    const rates = new ModelRates();
    rates.learnWrite(model, 100, 4_000, 2);
    expect(rates.writeMs(model, 2)).toBeCloseTo(40);
    expect(rates.writeMs(model, 0)).toBeCloseTo(20);
  });

  it("learn nothing of what says nothing", () => {
    const rates = new ModelRates();
    rates.learnRead(model, 10, 5_000, 0);
    rates.learnWrite(model, 2, 5_000, 0);
    for (const ms of [0, -1, Number.NaN, Infinity]) rates.learnLoad(model, ms);
    expect(rates.size).toBe(0);
  });

  it("stay near what is usual, with one measurement in ten gone wild (L1)", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.8, max: 1.25, noNaN: true }), { minLength: 30, maxLength: 30 }),
        fc.double({ min: 0.001, max: 1_000, noNaN: true }),
        (noise, wild) => {
          const rates = new ModelRates();
          noise.forEach((factor, nth) => rates.learnRead(model, 1_000, 2_000 * factor * (nth % 10 === 5 ? wild : 1), 0));
          expect(rates.readMs(model)).toBeGreaterThan(2 / 2.5);
          expect(rates.readMs(model)).toBeLessThan(2 * 2.5);
        },
      ),
    );
  });

  it("are bounded (L4)", () => {
    const rates = new ModelRates();
    for (let i = 0; i < 10_000; i++) rates.learnLoad(lent(`n${i}`, "m"), 1_000);
    expect(rates.size).toBeLessThanOrEqual(4_096);
  });
});
