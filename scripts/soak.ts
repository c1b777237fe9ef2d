/**
 * `npm run soak`: a real cluster works for an hour (`-- --minutes 60`) at a random mix (`--seed N`), is struck now and then, and is
 * watched: is anything lost or accepted twice, does anything grow that should not? What steady means stands in
 * docs/reliability.md. Ends with PASS or FAIL and the exit code 0 or 1; Ctrl-C ends it with the verdict so far, a second one at
 * once. Linux only: it reads /proc.
 */
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { startCluster, type TestCluster } from "../tests/support/daemon.ts";
import { endOnSignal } from "./child.ts";
import { runIn, SOAK_POLICY } from "./soak/load.ts";
import { reportLines } from "./soak/report.ts";
import { Soak } from "./soak/rounds.ts";
import { judgeParts } from "./soak/verdict.ts";

const { values } = parseArgs({ options: { minutes: { type: "string", default: "60" }, seed: { type: "string" } } });

const SLOTS = 8;
/** Each daemon in a session of its own, so that Ctrl-C reaches this program alone. */
const APART = ["setsid"];

const seed = values.seed === undefined ? randomInt(2 ** 32) : Number(values.seed);
const minutes = Number(values.minutes);
if (process.platform !== "linux" || !(minutes > 0) || !Number.isSafeInteger(seed)) {
  console.error("npm run soak -- --minutes 60 --seed N; on Linux, because it reads /proc");
  process.exit(2);
}

const leave = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    console.log("\nending with the verdict so far; once more ends it at once");
    leave.abort();
    endOnSignal();
  });
}

async function soak(cluster: TestCluster): Promise<boolean> {
  const worker = { slots: SLOTS, policy: SOAK_POLICY, inside: APART };
  const workers = { one: await cluster.addWorker("one", worker), two: await cluster.addWorker("two", worker) };
  console.log(`seed ${seed}, ${minutes} minutes, in ${cluster.folder}; filling what a coordinator keeps …`);
  await runIn(cluster.client);
  const course = new Soak({ cluster, workers, seed, leave: leave.signal });
  try {
    await course.run(minutes * 60_000);
  } catch (error) {
    course.problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  const parts = judgeParts(course.samples);
  const problems = [...parts.flatMap((part) => part.problems), ...course.problems];
  for (const line of reportLines({ seed, course, parts, problems })) console.log(line);
  return problems.length === 0;
}

const cluster = await startCluster({}, { manner: { under: APART } });
try {
  process.exitCode = (await soak(cluster)) ? 0 : 1;
} finally {
  await cluster.end();
}
