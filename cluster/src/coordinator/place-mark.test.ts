import { expect, test } from "vitest";
import { PlaceMark } from "./place-mark.ts";

test("it is the same for the same places in any order, and another one for others", () => {
  let [control, bus] = [["http://10.0.0.1:8888", "http://10.0.0.2:8888"], ["tls://10.0.0.1:4222"]];
  const parts = { controlUrls: () => control, busUrls: () => bus };
  const mark = new PlaceMark(parts);
  const first = mark.now();
  expect(first).toMatch(/^[\w-]{12}$/);
  control = control.toReversed();
  expect(mark.now()).toBe(first);
  expect(new PlaceMark(parts).now()).toBe(first);
  bus = [...bus, "tls://10.0.0.2:4222"];
  expect(mark.now()).not.toBe(first);
});
