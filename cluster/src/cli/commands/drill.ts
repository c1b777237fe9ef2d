/** `drill`: kills a worker, a node or a coordinator on purpose, and says whether anything was lost. */
import { availableParallelism, loadavg } from "node:os";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import type { Outcome, Stage } from "../drill/stage.ts";
import { INTERRUPTED } from "../follow.ts";
import { readCount, readNodeId } from "../ids.ts";
import type { Session } from "../session.ts";
import { facts } from "../table.ts";
import { paint, remark, type Terminal } from "../terminal.ts";

interface Options {
  readonly node?: string;
  readonly coordinator?: true;
  readonly tasks: string;
  readonly wait: string;
}

/** A person has that long to pull a plug, at most. */
const WAIT_S_MAX = 3_600;

export function configure(command: Command, act: Act): void {
  command
    .option("--node <node>", "drill with a machine of your own: you pull its plug, close its lid or kill its daemon")
    .option("--coordinator", "kill the coordinator of a whole cluster that is made for the drill")
    .option("--tasks <n>", "how many tasks are at stake (not with --node, which keeps a few at work)", "50")
    .option("--wait <seconds>", "with --node: how long to wait for its loss, and then for its return", "300");
  examples(command, "drill", "drill --node nas2", "drill --coordinator --json")
    .addHelpText(
      "after",
      "\nWithout --node or --coordinator two workers of the drill's own join the running cluster for some seconds, and one of them is\n" +
        "killed; it needs an administrator's token. Exit code 0 for PASS, 1 for FAIL. Ctrl-C tidies up.",
    )
    .action(act(drill));
}

async function drill(session: Session, options: Options): Promise<number> {
  if (options.node !== undefined && options.coordinator === true)
    throw new ClusterError("usage", "--node and --coordinator are two drills; run one after the other");
  const { onStage } = await import("../drill/stage.ts");
  const { outcome, left } = await onStage(session, await chooseAct(options));
  if (outcome === undefined) {
    if (left.length === 0) remark(session.terminal, "interrupted; whatever the drill had made is gone again");
    return INTERRUPTED;
  }
  const ok = outcome.problems.length === 0;
  if (!ok) tellLoad(session.terminal);
  const { form, problems, measured } = outcome;
  session.show({ ok, form, ...measured, problems, left }, () => verdictText(session.terminal, outcome));
  return ok ? 0 : 1;
}

async function chooseAct(options: Options): Promise<(stage: Stage) => Promise<Outcome>> {
  const tasks = readCount(options.tasks, "--tasks", LIMITS.submitTasksMax);
  if (options.coordinator === true) {
    const { drillCoordinator } = await import("../drill/coordinator.ts");
    return (stage) => drillCoordinator(stage, tasks);
  }
  if (options.node !== undefined) {
    const node = readNodeId(options.node);
    const waitMs = readCount(options.wait, "--wait", WAIT_S_MAX) * 1_000;
    const { drillOwnNode } = await import("../drill/own-node.ts");
    return (stage) => drillOwnNode(stage, node, waitMs);
  }
  const { drillTwoWorkers } = await import("../drill/two-workers.ts");
  return (stage) => drillTwoWorkers(stage, tasks);
}

/** All that is promised in seconds is promised by a machine that has time for it. */
function tellLoad(terminal: Terminal): void {
  const [load = 0] = loadavg();
  const processors = availableParallelism();
  if (load > processors)
    remark(terminal, `this machine is very busy (load ${load.toFixed(1)}, ${processors} processors), and times suffer from that`);
}

function verdictText(terminal: Terminal, { problems, headline, facts: rows }: Outcome): string {
  const ok = problems.length === 0;
  const mark = ok ? paint(terminal, ["bold", "green"], "PASS") : paint(terminal, ["bold", "red"], "FAIL");
  const list = problems.map((problem) => `- ${problem}\n`).join("");
  return `${mark}  ${headline}${ok ? ", and nothing was lost" : ""}\n${list}\n${facts(terminal, rows)}`;
}
