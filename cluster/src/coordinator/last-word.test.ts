import { NodeId } from "@openclaw-cluster/contract/ids";
import { expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { leaseMs, PAUSE_MS } from "../core/liveness.ts";
import { sayLastWord } from "./last-word.ts";

const AGAIN_MS = 250;
const [SELF, NAS, MINI] = ["lead", "nas", "mini"].map((name) => NodeId.parse(name)) as [NodeId, NodeId, NodeId];

function said(sureUntil: number, { nodes = [SELF, NAS, MINI], signal = new AbortController().signal } = {}) {
  const clock = new HandClock();
  const words: { id: NodeId; ms: number; at: number }[] = [];
  const saying = sayLastWord({ self: SELF, clock, nodes, sureUntil: clock.monotonic() + sureUntil, signal }, (id, ms) =>
    words.push({ id, ms, at: clock.monotonic() }),
  );
  return { clock, words, saying };
}

const settled = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

test("it is said to all but its own machine, again and again while leases last, and ends at one time however late it is heard", async () => {
  const { clock, words, saying } = said(0);
  for (let passedMs = 0; passedMs < leaseMs({}) + AGAIN_MS; passedMs += AGAIN_MS) {
    await settled();
    clock.advance(AGAIN_MS);
  }
  await saying;
  expect(new Set(words.map(({ id }) => id))).toEqual(new Set([NAS, MINI]));
  expect(words.filter(({ id }) => id === NAS)).toHaveLength(leaseMs({}) / AGAIN_MS);
  expect(new Set(words.map(({ ms, at }) => ms + at))).toEqual(new Set([(words[0]?.at ?? 0) + PAUSE_MS]));
});

test("whoever was stopped in between says what is left of it, and in the end nothing (L2)", async () => {
  expect(said(-100_000).words.map(({ ms }) => ms)).toEqual([PAUSE_MS - 100_000, PAUSE_MS - 100_000]);
  expect(said(-PAUSE_MS).words).toEqual([]);
});

test("it is cut where this machine leads again, and nobody who holds nothing hears it", async () => {
  const cut = new AbortController();
  const { words, saying } = said(0, { signal: cut.signal });
  cut.abort();
  await saying;
  expect(words).toHaveLength(2);
  const nobody = said(0, { nodes: [SELF] });
  await nobody.saying;
  expect(nobody.words).toEqual([]);
});
