import { NodeId } from "@openclaw-cluster/contract/ids";
import { expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { leaseMs, PAUSE_MS } from "../core/liveness.ts";
import type { StandbyWord } from "../core/word-book.ts";
import { silentLog } from "../system/log.ts";
import { StandbyWordKeeper } from "./standby-word.ts";
import type { StandbyWords, WordTerm } from "./standby-words.ts";

const [SELF, LEADER, MINI, DESK] = ["nas", "studio", "mini", "desk"].map((name) => NodeId.parse(name)) as [NodeId, NodeId, NodeId, NodeId];
const LEADS: WordTerm = { epoch: 3, leader: { node: LEADER, heedsWords: true } };

interface Said {
  readonly node: NodeId;
  readonly epoch: number;
  readonly until: number;
}

function standing({
  term = LEADS,
  left = false,
  holders = [SELF, LEADER, MINI, DESK],
}: { term?: WordTerm; left?: boolean; holders?: NodeId[] } = {}) {
  const clock = new HandClock();
  const written: Omit<StandbyWord, "epoch">[] = [];
  const said: Said[] = [];
  const state = { hasQuorum: true, standsBy: true, removed: 0, holders, stir: () => undefined as void };
  const words: StandbyWords = {
    left: async () => left,
    async write(word) {
      if (!state.hasQuorum) throw new Error("no quorum");
      written.push(word);
      return term;
    },
    read: async () => [],
    remove: async () => void state.removed++,
  };
  const keeper = new StandbyWordKeeper({
    ...{ self: SELF, boot: "one", words, clock, log: silentLog },
    holders: () => state.holders,
    onLeases: (listener) => {
      state.stir = listener;
      return () => undefined;
    },
    standsBy: () => state.standsBy,
    openVoice: async () => ({
      say: (node, epoch, ms) => void said.push({ node, epoch, until: clock.monotonic() + ms }),
      close: async () => undefined,
    }),
  });
  const passes = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 250) {
      await settled();
      clock.advance(250);
    }
    await settled();
  };
  return { clock, state, written, said, keeper, passes };
}

const settled = async (): Promise<void> => {
  for (let turns = 0; turns < 5; turns += 1) await new Promise((resolve) => void setImmediate(resolve));
};

test("while a quorum hears it, it says nothing, and each word tells that the one before was taken", async () => {
  const { written, said, passes } = standing();
  await passes(10_000);
  expect(said).toEqual([]);
  expect(written.slice(0, 3).map(({ n, heard, saidMs }) => [n, heard, saidMs])).toEqual([
    [1, 0, 0],
    [2, 1, 0],
    [3, 2, 0],
  ]);
});

test("without one it tells all but its own machine and the leader's to go on, until a pause after what was last taken was sent (Y1, Y3)", async () => {
  const { clock, state, said, passes } = standing();
  await passes(5_000);
  state.hasQuorum = false;
  const last = clock.monotonic();
  await passes(2_500);
  expect(said).toEqual([]);
  await passes(leaseMs({}));
  expect(new Set(said.map(({ node }) => node))).toEqual(new Set([MINI, DESK]));
  expect(new Set(said.map(({ epoch }) => epoch))).toEqual(new Set([LEADS.epoch]));
  const [until, ...others] = new Set(said.map((one) => one.until));
  expect(others).toEqual([]);
  expect(until).toBeLessThanOrEqual(last + PAUSE_MS);
  expect(until).toBeGreaterThan(last + PAUSE_MS - 2_000);
});

test("when it is heard again it falls silent, and tells what it has said until that is over (Y2)", async () => {
  const { clock, state, said, written, passes } = standing();
  await passes(5_000);
  state.hasQuorum = false;
  await passes(5_000);
  const [{ until }] = said as [Said];
  state.hasQuorum = true;
  await passes(2_000);
  const words = said.length;
  await passes(10_000);
  expect(said).toHaveLength(words);
  const told = written.at(-1) as (typeof written)[number];
  expect(told.saidMs).toBeGreaterThanOrEqual(until - clock.monotonic());
  await passes(PAUSE_MS);
  expect(written.at(-1)?.saidMs).toBe(0);
});

test("a life that follows one without an end tells what that may have said", async () => {
  const { written, passes } = standing({ left: true });
  await passes(1_000);
  expect(written[0]?.saidMs).toBe(PAUSE_MS);
});

test.for([
  ["whose leader does not heed it", { term: { epoch: 3, leader: { node: LEADER } } }],
  ["whose leader it does not know", { term: { epoch: 3 } }],
  ["in which nobody else holds anything", { holders: [SELF, LEADER] }],
] as const)("it says nothing in a term %s", async ([, how]) => {
  const { state, said, passes } = standing(how as Parameters<typeof standing>[0]);
  await passes(5_000);
  state.hasQuorum = false;
  await passes(15_000);
  expect(said).toEqual([]);
});

test("while nobody holds anything it writes nothing, and does as soon as somebody comes to hold something", async () => {
  const { clock, state, written, passes } = standing({ holders: [] });
  await passes(5_000);
  expect(written).toEqual([]);
  state.holders = [MINI];
  state.stir();
  clock.advance(0);
  await settled();
  expect(written).toHaveLength(1);
});

test("one that leads is silent, and writes nothing", async () => {
  const { state, said, written, passes } = standing();
  await passes(3_000);
  state.standsBy = false;
  const before = written.length;
  await passes(15_000);
  expect([said, written.length - before]).toEqual([[], 0]);
});

test("in good order it takes its word away, where nothing lasts of what it has said", async () => {
  const silent = standing();
  await silent.passes(3_000);
  await silent.keeper.close();
  expect(silent.state.removed).toBe(1);
  const spoken = standing();
  await spoken.passes(3_000);
  spoken.state.hasQuorum = false;
  await spoken.passes(5_000);
  await spoken.keeper.close();
  expect([spoken.said.length > 0, spoken.state.removed]).toEqual([true, 0]);
});
