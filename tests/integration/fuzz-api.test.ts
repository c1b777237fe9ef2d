/** Every operation of the API under requests that nobody meant well, over real sockets, before a real coordinator on SQLite. */
import { OPERATIONS } from "@openclaw-cluster/contract/operations";
import { expect, test } from "vitest";
import { fuzzApi } from "../fuzz/campaign.ts";

const SEED = 20_261_129;
const ROUNDS = 2;
const SHOTS = 40;
/** The tasks and nodes of a campaign are kept in memory; what one request leaves behind must be next to nothing. */
const GROWTH_MIB_MAX = 48;
/** These need what no schema tells of: a proof, or a task that waits for a person. */
const HARD_TO_PLEASE = ["join", "session", "probe", "leave", "rotate", "answer"];

test(
  "whatever is asked, the answer is one of the document; nothing breaks, leaks or grows, and the cluster goes on",
  { timeout: 240_000 },
  async () => {
    const { faults, answers, shots, grownMiB } = await fuzzApi({ seed: SEED, shots: SHOTS, goesOn: (round) => round < ROUNDS });
    expect(faults).toEqual([]);
    expect([...answers.keys()].toSorted()).toEqual(Object.keys(OPERATIONS).toSorted());
    const silent = [...answers].filter(([, statuses]) => [...statuses.values()].reduce((sum, n) => sum + n, 0) < ROUNDS * SHOTS);
    expect(silent).toEqual([]);
    // So that it is not the gate alone that is tried.
    const neverPleased = [...answers].filter(([, statuses]) => ![...statuses.keys()].some((status) => status < 300)).map(([name]) => name);
    expect(neverPleased.filter((name) => !HARD_TO_PLEASE.includes(name))).toEqual([]);
    expect(shots).toBeGreaterThan(ROUNDS * SHOTS * answers.size);
    expect(grownMiB).toBeLessThan(GROWTH_MIB_MAX);
  },
);
