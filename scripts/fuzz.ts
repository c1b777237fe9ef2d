/**
 * `npm run fuzz`: hostile requests and messages, for as long as is wished. `-- --minutes 10` how long in all; `--seed N` where to
 * begin; `--target api`, `node`, `worker` or `bytes` only one kind of it (tests/fuzz); `--only OPERATION --path P` one request again, as a
 * failure prints it. Each kind begins anew with another seed every few minutes, which it prints. Ends with 1 where something was found.
 */
import { parseArgs } from "node:util";
import { fuzzApi } from "../tests/fuzz/api-campaign.ts";
import { byCount, byTime, type Budget } from "../tests/fuzz/budget.ts";
import { fuzzBytes } from "../tests/fuzz/hostile-bytes.ts";
import { fuzzWorker } from "../tests/fuzz/hostile-coordinator.ts";
import { fuzzNode } from "../tests/fuzz/hostile-node.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "4" },
    seed: { type: "string" },
    shots: { type: "string", default: "100" },
    target: { type: "string", multiple: true },
    only: { type: "string" },
    path: { type: "string" },
  },
});

const MINUTE_MS = 60_000;
/** Of one campaign: its cluster is looked at when it is over, and no fault should wait for longer. */
const CAMPAIGN_MS = 3 * MINUTE_MS;
/** Far from each other, since a campaign counts on from its seed. */
const SEED_STEP = 1_000_003;

interface Found {
  readonly faults: readonly string[];
  /** In one line. */
  readonly done: string;
}

const grown = (mib: number): string => `${mib.toFixed(1)} MiB more held`;

const TARGETS: Readonly<Record<string, (budget: Budget) => Promise<Found>>> = {
  async api(budget) {
    const { faults, answers, shots, events, grownMiB } = await fuzzApi({
      ...{ budget, shots: Number(values.shots), only: values.only, path: values.path },
      tell: (line) => process.stderr.write(`${line}\n`),
    });
    for (const [name, statuses] of answers) console.log(`${name}: ${[...statuses].map(([status, n]) => `${n} × ${status}`).join(", ")}`);
    return { faults, done: `${shots} requests, ${events} events, ${grown(grownMiB)}` };
  },
  async node(budget) {
    const { faults, messages, ends, pieces, lines, grownMiB } = await fuzzNode(budget);
    return {
      faults,
      done: `${messages} messages, ${pieces} pieces of output, ${JSON.stringify(ends)}, ${lines} lines, ${grown(grownMiB)}`,
    };
  },
  async worker(budget) {
    const { faults, messages, turnsOfAgents, commandsRefused, lines, grownMiB } = await fuzzWorker(budget);
    const runs = `${turnsOfAgents} turns, ${commandsRefused} commands refused`;
    return { faults, done: `${messages} messages, ${runs}, ${lines} lines, ${grown(grownMiB)}` };
  },
  async bytes(budget) {
    const { faults, messages, pieces, lines, serverLogBytes, grownMiB } = await fuzzBytes(budget);
    const logs = `${lines} lines, ${serverLogBytes} bytes of nats-server's log`;
    return { faults, done: `${messages} messages, ${pieces} pieces of output, ${logs}, ${grown(grownMiB)}` };
  },
};

const first = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const again = values.path !== undefined;
const chosen = Object.entries(TARGETS).filter(([name]) => (again ? name === "api" : (values.target?.includes(name) ?? true)));
const campaigns = Math.max(1, Math.ceil((Number(values.minutes) * MINUTE_MS) / CAMPAIGN_MS / chosen.length));
const eachMs = (Number(values.minutes) * MINUTE_MS) / chosen.length / campaigns;
// The product's own timers keep no process alive, and now and then a campaign waits for nothing else.
const awake = setInterval(() => undefined, MINUTE_MS);
for (let n = 0; n < (again ? 1 : campaigns); n += 1) {
  const seed = first + n * SEED_STEP;
  for (const [name, run] of chosen) {
    console.log(`${name}: seed ${seed}`);
    const { faults, done } = await run(again ? byCount(seed, 1) : byTime(seed, eachMs));
    for (const fault of faults) console.log(`✗ ${name}: ${fault}`);
    console.log(`${name}: ${done}, ${faults.length} faults`);
    if (faults.length > 0) process.exitCode = 1;
  }
}
clearInterval(awake);
