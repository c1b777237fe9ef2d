import { expect, test } from "vitest";
import { SPARING, sparingLog } from "./sparing-log.ts";

function ground(): { now: number; lines: object[]; complain(party: string, times: number): void } {
  const lines: object[] = [];
  const log = { warn: (fields: object, message?: string) => void lines.push({ ...fields, message }) };
  const state = { now: 0, lines, complain: (_party: string, _times: number): void => undefined };
  const sparing = sparingLog(log as never, { monotonic: () => state.now });
  state.complain = (party, times) => {
    for (let n = 0; n < times; n += 1) sparing.warn(party, { party }, "dropped");
  };
  return state;
}

test("of one party a few lines a minute, of another its own; the next minute tells how many were left out", () => {
  const state = ground();
  state.complain("evil", 1_000_000);
  state.complain("other", 2);
  expect(state.lines).toHaveLength(SPARING.linesMax + 2);
  state.now = 60_000;
  state.complain("evil", 1);
  expect(state.lines.at(-1)).toEqual({ party: "evil", leftOut: 1_000_000 - SPARING.linesMax, message: "dropped" });
  state.complain("evil", 1);
  expect(state.lines.at(-1)).toEqual({ party: "evil", message: "dropped" });
});

test("a flood of parties takes no more memory than so many", () => {
  const state = ground();
  for (let n = 0; n <= SPARING.partiesMax; n += 1) state.complain(`n${n}`, SPARING.linesMax + 1);
  const before = state.lines.length;
  state.complain("n0", 1);
  state.complain(`n${SPARING.partiesMax}`, 1);
  expect(state.lines.length - before).toBe(1);
});
