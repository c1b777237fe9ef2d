/**
 * `npm run fuzz`: hostile requests and messages, for as long as is wished. `-- --minutes 10` how long in all; `--seed N` where to
 * begin; `--target api`, `node`, `worker` or `bytes` only one kind of it (tests/fuzz); `--only OPERATION --path P` one request again, as a
 * failure prints it. Ends with 1 where something was found.
 */
import { parseArgs } from "node:util";
import { fuzzApi } from "../tests/fuzz/campaign.ts";
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

const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const once = values.path !== undefined;

/** Each says what it found, and in one line what it did. */
const TARGETS: Readonly<Record<string, (goesOn: () => boolean) => Promise<{ faults: readonly string[]; done: string }>>> = {
  async api(goesOn) {
    const { faults, answers, shots, grownMiB } = await fuzzApi({
      seed,
      shots: Number(values.shots),
      only: values.only,
      path: values.path,
      goesOn: (round) => (once ? round === 0 : goesOn()),
      tell: (line) => process.stderr.write(`${line}\n`),
    });
    for (const [name, statuses] of answers) console.log(`${name}: ${[...statuses].map(([status, n]) => `${n} × ${status}`).join(", ")}`);
    return { faults, done: `${shots} requests, ${grownMiB.toFixed(1)} MiB more held` };
  },
  async node(goesOn) {
    const { faults, messages, ends, logged, grownMiB } = await fuzzNode({ seed, goesOn });
    return { faults, done: `${messages} messages, ${JSON.stringify(ends)}, ${logged.lines} lines, ${grownMiB.toFixed(1)} MiB more held` };
  },
  async worker(goesOn) {
    const { faults, messages, logged, grownMiB } = await fuzzWorker({ seed, goesOn });
    return { faults, done: `${messages} messages, ${logged.lines} lines, ${grownMiB.toFixed(1)} MiB more held` };
  },
  async bytes(goesOn) {
    const { ends, messages, logged, serverLogBytes, grownMiB } = await fuzzBytes({ seed, goesOn });
    const faults = ends.filter((end) => end !== "succeeded").map((end) => `an honest task is ${end}`);
    const logs = `${logged.lines} lines, ${serverLogBytes} bytes of nats-server's log`;
    return { faults, done: `${messages} messages, ${logs}, ${grownMiB.toFixed(1)} MiB more held` };
  },
};

const chosen = Object.entries(TARGETS).filter(([name]) => (once ? name === "api" : (values.target?.includes(name) ?? true)));
const eachMs = (Number(values.minutes) * 60_000) / chosen.length;
// The product's own timers keep no process alive, and now and then a campaign waits for nothing else.
const awake = setInterval(() => undefined, 60_000);
console.log(`seed ${seed}`);
for (const [name, run] of chosen) {
  const endAt = performance.now() + eachMs;
  const { faults, done } = await run(() => performance.now() < endAt);
  for (const fault of faults) console.log(`✗ ${name}: ${fault}`);
  console.log(`${name}: ${done}, ${faults.length} faults`);
  if (faults.length > 0) process.exitCode = 1;
}
clearInterval(awake);
