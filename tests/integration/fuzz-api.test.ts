/** Every operation of the API under requests that nobody meant well, over real sockets, before a real coordinator on SQLite. */
import { OPERATIONS } from "@openclaw-cluster/contract/operations";
import { expect, test } from "vitest";
import { fuzzApi } from "../fuzz/api-campaign.ts";
import { byCount } from "../fuzz/budget.ts";

const SEED = 20_261_129;
const ROUNDS = 2;
/** Of each operation in a round: some 2,700 requests in all. Longer, and other ones: `npm run fuzz`. */
const SHOTS = 40;
/** They want other machines and etcd; whole daemons grant them in tests/faults. Here they get as far as the coordinator that says so. */
const NOT_ALONE: readonly string[] = ["migrateStore", "promoteNode", "demoteNode"];

test(
  "whatever is asked, the answer is one of the document; nothing breaks, leaks or grows, and the cluster goes on",
  { timeout: 240_000 },
  async () => {
    const { faults, answers, events, heard } = await fuzzApi({ budget: byCount(SEED, ROUNDS), shots: SHOTS });
    expect(faults).toEqual([]);
    expect([...answers.keys()].toSorted()).toEqual(Object.keys(OPERATIONS).toSorted());
    const fired = [...answers].map(([name, statuses]) => [name, [...statuses.values()].reduce((sum, n) => sum + n, 0)] as const);
    expect(fired.filter(([, shots]) => shots < ROUNDS * SHOTS)).toEqual([]);
    // So that it is not the gate alone that is tried: each was granted, also what wants a proof.
    const got = (name: string, status: number): boolean => (NOT_ALONE.includes(name) ? status === 409 : status < 300);
    const neverGranted = [...answers].filter(([name, statuses]) => ![...statuses.keys()].some((status) => got(name, status)));
    expect(neverGranted).toEqual([]);
    // Streams were read, and not only opened.
    expect(events).toBeGreaterThan(0);
    for (const { task, node } of heard) expect(Math.min(task ?? 0, node ?? 0)).toBeGreaterThan(0);
  },
);
