/**
 * `npm run fuzz`: hostile requests and messages for as long as is wished. `-- --minutes 10` how long; `--seed N` where to begin;
 * `--target api` or a bus one only; `--only OPERATION --path P` one case again, as a failure prints it. Ends with 1 at the first fault.
 */
import { parseArgs } from "node:util";
import { fuzzApi } from "../tests/fuzz/campaign.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string" },
    shots: { type: "string", default: "100" },
    only: { type: "string" },
    path: { type: "string" },
  },
});

const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const endAt = performance.now() + Number(values.minutes) * 60_000;
// The product's own timers keep no process alive, and now and then a campaign waits for nothing else.
const awake = setInterval(() => undefined, 60_000);
const once = values.path !== undefined;
console.log(`seed ${seed}`);
const { faults, answers, shots, grownMiB } = await fuzzApi({
  seed,
  shots: Number(values.shots),
  only: values.only,
  path: values.path,
  goesOn: (round) => (once ? round === 0 : performance.now() < endAt),
  tell: (line) => process.stderr.write(`${line}\n`),
});
for (const [name, statuses] of answers) console.log(`${name}: ${[...statuses].map(([status, n]) => `${n} × ${status}`).join(", ")}`);
for (const fault of faults) console.log(`✗ ${fault}`);
console.log(`${shots} requests, ${faults.length} faults, ${grownMiB.toFixed(1)} MiB more held`);
process.exitCode = faults.length === 0 ? 0 : 1;
clearInterval(awake);
