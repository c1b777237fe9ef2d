/**
 * `npm run sim`: the simulation, seed after seed. `-- --seed N` runs one; `-- --seeds 1000 --from 1` many; `--steps M` how long
 * each is; `--minutes 60` as many as fit; `--members` with machines that come and go; `--contend` with several control nodes over
 * one etcd; `--islands` with such that are cut off together with machines; `--trace` shows what happened; `--plant NAME` with a bug in the product that the checker must find
 * (tests/simulation/world/plants.ts). Ends with 1 at the first seed that breaks a promise, and says how to see it again.
 */
import { parseArgs } from "node:util";
import { plant } from "../tests/simulation/world/plants.ts";
import type { Outcome } from "../tests/simulation/world/world.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string", default: "100" },
    from: { type: "string" },
    steps: { type: "string" },
    minutes: { type: "string" },
    trace: { type: "boolean", default: false },
    plant: { type: "string" },
    members: { type: "boolean", default: false },
    contend: { type: "boolean", default: false },
    islands: { type: "boolean", default: false },
  },
});

const planted = values.plant === undefined ? undefined : plant(values.plant);
// After the plant: what is loaded already cannot be changed.
const { simulate } = await import("../tests/simulation/world/world.ts");

const STEPS = 2_000;
/** There trouble is sparse, and takes its course. */
const ISLAND_STEPS = 15_000;
const KINDS = ["members", "contend", "islands"] as const;
const kind = Object.fromEntries(KINDS.map((name) => [name, values[name] || planted?.[name] === true]));
const steps = Number(values.steps ?? (kind["islands"] === true ? ISLAND_STEPS : STEPS));
const from = Number(values.seed ?? values.from ?? planted?.from ?? 1);
const count = values.seed === undefined ? Number(values.seeds) : 1;
const endAt = values.minutes === undefined ? Infinity : performance.now() + Number(values.minutes) * 60_000;
const REPORT_MS = 10_000;
const VIOLATIONS_SHOWN = 8;

function tellFailure({ seed, violations, trace, story }: Outcome): void {
  for (const line of trace) console.log(`  ${line}`);
  for (const line of story) console.log(`    ${line}`);
  for (const { what, text, atMs } of [...violations.slice(0, VIOLATIONS_SHOWN), ...violations.slice(VIOLATIONS_SHOWN).slice(-1)])
    console.log(`✗ ${what} at ${(atMs / 1_000).toFixed(3)} s: ${text}`);
  const more = planted === undefined ? KINDS.map((name) => (kind[name] ? ` --${name}` : "")).join("") : ` --plant ${planted.name}`;
  console.log(`npm run sim -- --seed ${seed} --steps ${steps}${more}`);
}

const startedAt = performance.now();
let reportAt = startedAt + REPORT_MS;
let done = 0;
let stepsDone = 0;
let tasks = 0;
let terms = 0;
for (let seed = from; (values.minutes === undefined ? done < count : true) && performance.now() < endAt; seed++) {
  const outcome = await simulate(seed, steps, kind);
  done += 1;
  stepsDone += outcome.steps;
  tasks += outcome.tasks;
  terms += outcome.terms;
  if (values.trace) for (const line of outcome.trace) console.log(`  ${line}`);
  if (outcome.violations.length > 0) {
    tellFailure(outcome);
    process.exitCode = 1;
    break;
  }
  if (performance.now() < reportAt) continue;
  reportAt += REPORT_MS;
  process.stderr.write(`${done} seeds, ${stepsDone.toLocaleString("en")} steps\n`);
}
const seconds = (performance.now() - startedAt) / 1_000;
console.log(
  `${done} seeds, ${stepsDone.toLocaleString("en")} steps, ${tasks.toLocaleString("en")} tasks, ${terms.toLocaleString("en")} terms in ${seconds.toFixed(1)} s`,
);
