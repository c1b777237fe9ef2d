/**
 * The submitting process: drives one subject in one mode and prints its figures as one JSON line. A process of its own,
 * because what a client costs is part of what is measured; the same driver for every subject, because a comparison needs it.
 */
import { parseArgs } from "node:util";
import { openBullmqSubject } from "./bullmq-subject.ts";
import { openClusterSubject } from "./cluster-subject.ts";
import { percentiles, type Percentiles } from "./percentiles.ts";
import type { Subject } from "./subject.ts";

export interface Figures {
  tasks: number;
  seconds: number;
  perSecond: number;
  /** This process's own processor time. */
  cpuMs: number;
  start?: Percentiles;
  result?: Percentiles;
}

const PAYLOAD_BYTES = 256;
const ARRAY_TASKS = 500;
/** Arrays on their way at once; 64 single calls on their way at once. */
const ARRAYS_IN_FLIGHT = 8;
const SINGLES_IN_FLIGHT = 64;

const { values } = parseArgs({
  options: {
    subject: { type: "string" },
    url: { type: "string" },
    "token-file": { type: "string" },
    port: { type: "string" },
    mode: { type: "string" },
    tasks: { type: "string" },
    rate: { type: "string", default: "100" },
  },
});

const count = Number(values.tasks);
const payload = "x".repeat(PAYLOAD_BYTES);
const subject: Subject =
  values.subject === "bullmq"
    ? await openBullmqSubject(Number(values.port))
    : await openClusterSubject(values.url as string, values["token-file"] as string);

/** Runs `total` calls, `inFlight` at a time. */
async function pump(total: number, inFlight: number, call: () => Promise<void>): Promise<void> {
  let left = total;
  const lane = async (): Promise<void> => {
    while (left-- > 0) await call();
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
}

async function drive(mode: string): Promise<Partial<Figures>> {
  const array = Array.from({ length: ARRAY_TASKS }, () => payload);
  switch (mode) {
    case "single":
      await pump(count, SINGLES_IN_FLIGHT, () => subject.runOne(payload));
      return {};
    case "arrays":
      await pump(count / ARRAY_TASKS, ARRAYS_IN_FLIGHT, () => subject.runArray(array));
      return {};
    case "submit-single":
      await pump(count, SINGLES_IN_FLIGHT, () => subject.submitOne(payload));
      return {};
    case "submit-arrays":
      await pump(count / ARRAY_TASKS, ARRAYS_IN_FLIGHT, () => subject.submitArray(array));
      return {};
    case "latency":
      return latency(count, Number(values.rate));
    default:
      throw new Error(`no such mode: ${mode}`);
  }
}

/** An open loop: a call each 1/rate seconds, whether the earlier ones are back or not. */
async function latency(total: number, rate: number): Promise<Partial<Figures>> {
  const from = performance.now();
  const times: Promise<{ startMs: number; resultMs: number }>[] = [];
  for (let index = 0; index < total; index++) {
    const waitMs = from + (index * 1_000) / rate - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    times.push(subject.timeOne(payload));
  }
  const seen = await Promise.all(times);
  return { start: percentiles(seen.map((one) => one.startMs)), result: percentiles(seen.map((one) => one.resultMs)) };
}

const cpuBefore = process.cpuUsage();
const from = performance.now();
const extra = await drive(values.mode as string);
const seconds = (performance.now() - from) / 1_000;
const cpu = process.cpuUsage(cpuBefore);
const figures: Figures = { tasks: count, seconds, perSecond: count / seconds, cpuMs: (cpu.user + cpu.system) / 1_000, ...extra };
process.stdout.write(`${JSON.stringify(figures)}\n`);
await subject.close();
