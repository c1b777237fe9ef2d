/** The report as a person reads it. */
import type { Comparison } from "./compare.ts";
import type { Measured } from "./measure.ts";
import { median, type Percentiles } from "./percentiles.ts";
import type { Flood } from "./flood.ts";
import type { Restart } from "./restart.ts";
import type { Recovered, Recovery } from "./recovery.ts";

export interface Report {
  /** load: of the last minute before it began, by whatever else runs there. */
  machine: { cpu: string; cores: number; memoryGiB: number; node: string; at: string; load: number };
  /** The tasks are kept in an etcd of so many members. */
  etcdMembers?: number;
  /** One daemon with both roles. */
  idle?: { cpuPercent: number; rssMiB: { daemon: number; nats: number } };
  runs: Measured[];
  /** Arrays again, on top of the tasks of all runs before. */
  afterHistory?: { finished: number; run: Measured };
  /** After so many tasks: as the last one ended, and when the processes had done nothing for a while. */
  memoryMiB?: { after: number; atOnce: Memory; atRest?: Memory };
  placing?: { nodes: number; queued: number; decisions: number; p50Us: number; p99Us: number; totalMs: number; hotPathUs: number };
  peer?: Comparison;
  recovery?: Recovery;
  floods?: Flood[];
  restart?: Restart;
}

interface Memory {
  coordinator: number;
  nats: number;
  worker: number;
  /** Each member. */
  etcd?: number[];
}

const out = (line = ""): void => void process.stdout.write(`${line}\n`);
const whole = (value: number): string => Math.round(value).toLocaleString("en");

export function printReport(report: Report): void {
  const { machine } = report;
  out(
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Node ${machine.node}, ${machine.at}, load ${machine.load.toFixed(1)}`,
  );
  if (report.etcdMembers !== undefined)
    out(`store      etcd, ${report.etcdMembers === 1 ? "one member" : `${report.etcdMembers} members`}`);
  if (report.idle !== undefined) {
    const { cpuPercent, rssMiB } = report.idle;
    out(
      `idle       ${cpuPercent.toFixed(2)} % of a core; daemon with both roles ${whole(rssMiB.daemon)} MiB, nats-server ${whole(rssMiB.nats)} MiB`,
    );
  }
  for (const run of report.runs) out(line(run));
  if (report.afterHistory !== undefined)
    out(`${line(report.afterHistory.run)}   (after ${whole(report.afterHistory.finished)} finished tasks)`);
  if (report.memoryMiB !== undefined) {
    const { after, atOnce, atRest } = report.memoryMiB;
    out(`memory     after ${whole(after)} tasks: ${memory(atOnce)}${atRest === undefined ? "" : `; at rest: ${memory(atRest)}`}`);
  }
  if (report.placing !== undefined) {
    const { nodes, queued, decisions, p50Us, p99Us, totalMs, hotPathUs } = report.placing;
    out(
      `placing    ${whole(queued)} queued on ${whole(nodes)} nodes: ${whole(decisions)} decisions in ${whole(totalMs)} ms, p50 ${p50Us.toFixed(1)} µs, p99 ${p99Us.toFixed(1)} µs; ${hotPathUs.toFixed(1)} µs a task with two nodes`,
    );
  }
  if (report.peer !== undefined) printPeer(report.peer);
  if (report.recovery !== undefined) printRecovery(report.recovery);
  for (const flood of report.floods ?? []) printFlood(flood);
  if (report.restart !== undefined) printRestart(report.restart);
}

function memory({ coordinator, worker, nats, etcd = [] }: Memory): string {
  const members = etcd.length === 0 ? "" : `, etcd ${etcd.map(whole).join(" + ")} MiB`;
  return `coordinator ${whole(coordinator)} MiB, worker ${whole(worker)} MiB, nats-server ${whole(nats)} MiB${members}`;
}

function line(run: Measured): string {
  const head = `${run.mode.padEnd(14)} ${whole(run.tasks).padStart(7)} tasks`;
  if (run.start !== undefined && run.result !== undefined) {
    const part = (of: { p50: number; p95: number; p99: number }): string =>
      `p50 ${of.p50.toFixed(1)}  p95 ${of.p95.toFixed(1)}  p99 ${of.p99.toFixed(1)}`;
    return `${head}   at 100/s: start ${part(run.start)}, result ${part(run.result)} ms`;
  }
  const { servers, submitter } = run.cpuPerTaskMs;
  return `${head} ${whole(run.perSecond).padStart(8)}/s   processor ${servers.toFixed(3)} ms a task + ${submitter.toFixed(3)} in the client`;
}

function printRecovery({ killed, cut }: Recovery): void {
  const ms = ({ p50, max }: Percentiles): string => `p50 ${whole(p50)} ms, at most ${whole(max)} ms`;
  const print = (blow: string, { rounds, struck, lost, acceptedTwice, requeuedMs, startedAgainMs }: Recovered): void => {
    out(`recovery   a worker ${blow} ${rounds} times, ${struck} tasks struck: ${lost} lost, ${acceptedTwice} accepted twice`);
    out(`           after the blow, taken back: ${ms(requeuedMs)}; started again on the other node: ${ms(startedAgainMs)}`);
  };
  print("killed with all its processes", killed);
  if (typeof cut === "string") out(`           no worker was cut off from the network: ${cut}`);
  else print("cut off from the network", cut);
}

function printFlood(flood: Flood): void {
  const ms = ({ p50, p99, max }: Percentiles): string => `p50 ${whole(p50)}, p99 ${whole(p99)}, at most ${whole(max)} ms`;
  const { offered, admitted, refused, other, unanswered } = flood;
  out(
    `flood      ${whole(flood.rate)} submits/s: ${whole(offered)} offered, ${whole(admitted)} let in, ${whole(refused)} refused, ${other} else, ${unanswered} unanswered`,
  );
  out(`           let in: ${ms(flood.admittedMs)}; refused: ${ms(flood.refusedMs)}; reads beside it: ${ms(flood.readMs)}`);
  out(`           let in by second: ${flood.bySecond.map((second) => whole(second.admitted)).join(" ")}`);
  out(`           of those let in: ${flood.lost} lost, ${flood.failed} failed; all done after ${whole(flood.drainedMs)} ms more`);
  out(
    `           coordinator: ${flood.coordinatorMiB.map(whole).join(" ")} MiB; the sender was late by ${whole(flood.lateMs.p99)} ms (p99)`,
  );
}

function printRestart({ open, firstMs, allMs, inOrder }: Restart): void {
  const ms = (values: readonly number[]): string => values.map(whole).join(", ");
  out(
    `restart    ${whole(open)} open tasks, coordinator killed: first start after ${ms(firstMs)} ms, all given out after ${ms(allMs)} ms; order ${inOrder ? "kept" : "NOT KEPT"}`,
  );
}

function printPeer({ rounds, rows }: Comparison): void {
  out(`against BullMQ, medians of ${rounds} rounds in turns, 64 in flight, one worker process`);
  for (const row of rows) {
    const figure = (values: readonly number[]): string =>
      (row.mode === "latency" ? `${median(values).toFixed(2)} ms` : `${whole(median(values))}/s`).padStart(10);
    out(
      `${row.mode.padEnd(8)} ours ${figure(row.ours)}   everysec ${figure(row.everysec)} (${row.ratioEverysec.toFixed(2)}×)   always ${figure(row.always)} (${row.ratioAlways.toFixed(2)}×)`,
    );
  }
}
