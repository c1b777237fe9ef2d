/** `leave`: takes this machine out of its cluster for good. What runs may end, what is done is delivered, and the key is forgotten. */
import { setTimeout as pause } from "node:timers/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Command } from "commander";
import { armFailpoint, failpoint } from "../../system/failpoint.ts";
import { foldersOf } from "../../system/folders.ts";
import { claimHome, isClaimed } from "../../system/home-claim.ts";
import { examples, type Act } from "../command.ts";
import { INTERRUPTED } from "../follow.ts";
import { readCount } from "../ids.ts";
import { drainFirst, endDaemon, type Leave } from "../leaving.ts";
import { NAME_DEFAULT } from "../service/plan.ts";
import type { Service } from "../service/service.ts";
import { openTrusted, type Session } from "../session.ts";
import { remark } from "../terminal.ts";
import { installedService } from "./service.ts";

interface Options {
  readonly now?: true;
  readonly force?: true;
  readonly yes?: true;
  readonly wait: string;
  readonly serviceName: string;
}

const WAIT_S = 600;
const WAIT_S_MAX = 86_400;
/** A daemon that finds its node gone ends at its next try to come in (compose/patience.ts). */
const LEFT_ALONE_MS_MAX = 30_000;
const LOOK_MS = 100;
/** The silence after which a node counts as lost: 13 s, and a laptop 60. */
const HEARD_MS_MAX = 70_000;
const GO_AGAIN_MS = 300;

export function configure(command: Command, act: Act): void {
  command
    .option("--now", "do not wait for what runs here: it is stopped and goes to other nodes")
    .option("--wait <seconds>", "how long what runs may take to end", String(WAIT_S))
    .option("--force", "ask nobody and only clean up here, where the coordinator is gone or not to be reached")
    .option("--yes", "take this machine's service away without asking")
    .option("--service-name <name>", "the service's name, where `service install --name` gave it one of its own", NAME_DEFAULT);
  examples(command, "leave", "leave --now", "leave --force")
    .addHelpText(
      "after",
      "\nThe node's row is removed, its key opens nothing any more, and what `join` wrote here goes. policy.yaml, logs and all other settings\n" +
        "stay. A new code lets the machine join again, here or elsewhere.",
    )
    .action(act(leave));
}

async function leave(session: Session, options: Options): Promise<number> {
  const { home, terminal } = session;
  const waitMs = readCount(options.wait, "--wait", WAIT_S_MAX) * 1_000;
  armFailpoint(terminal.env);
  const { checkMayLeave } = await import("../../compose/leaving.ts");
  const node = await checkMayLeave({ home, env: terminal.env });
  const service = await serviceToRemove(session, options);
  if (options.force === true) return cleanUp(session, { node, service, told: false });

  const { openMember } = await import("../../compose/member.ts");
  const ended = new AbortController();
  const interrupt = terminal.onInterrupt(() => (ended.signal.aborted ? terminal.exit(INTERRUPTED) : ended.abort()));
  const { signal } = ended;
  try {
    const member = await openMember({ home, env: terminal.env, connect: openTrusted }).catch(notReached(session));
    if (member === undefined) return await cleanUp(session, { node, service, told: true });
    try {
      await part({ home, member, signal, waitMs, now: options.now === true, session, service });
    } finally {
      await member.close();
    }
    failpoint("leave.answered");
    return await cleanUp(session, { node, service, told: true });
  } catch (error) {
    if (!signal.aborted) throw error;
    remark(terminal, `\n${node} stays in its cluster`);
    return INTERRUPTED;
  } finally {
    interrupt.stop();
  }
}

/** From a node at work to one that its cluster has forgotten. */
async function part(leaving: Leave): Promise<void> {
  const { member, session } = leaving;
  // One that was never let in has nothing to hand over, and its daemon hears nothing yet.
  if (member.session.state === "approved") {
    const own = await drainFirst(leaving);
    await endDaemon(leaving, own);
  }
  await go(leaving);
  remark(session.terminal, `${member.session.node} is out of the cluster`);
}

/** A daemon that was killed is heard of for some seconds yet, as far as its coordinator knows. */
async function go({ member, signal }: Leave): Promise<void> {
  const giveUpAt = performance.now() + HEARD_MS_MAX;
  for (;;) {
    try {
      return void (await member.leave("go"));
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error;
      // The answer was lost, and the same question finds a cluster that has forgotten this node.
      if (error.code === "node_removed") return;
      if (error.code !== "state_conflict" || performance.now() > giveUpAt) throw error;
    }
    await pause(GO_AGAIN_MS, undefined, { signal });
  }
}

interface Rest {
  readonly node: string;
  readonly service: Service | undefined;
  /** The cluster knows. */
  readonly told: boolean;
}

/** What is left to do on this machine, as often as it takes. */
async function cleanUp(session: Session, { node, service, told }: Rest): Promise<number> {
  const { home } = session;
  const folders = foldersOf(home);
  if (service !== undefined) await service.uninstall();
  // A daemon that runs all the same finds no cluster that knows it any more, and ends.
  const giveUpAt = performance.now() + LEFT_ALONE_MS_MAX;
  while (told && isClaimed(folders.data) && performance.now() < giveUpAt) await pause(LOOK_MS);
  const claim = claimHome(home, folders.data);
  const { putAway } = await import("../../compose/leaving.ts");
  let aside: string | undefined;
  try {
    aside = await putAway(home);
  } finally {
    claim.release();
  }
  const document = {
    ok: true,
    node,
    told,
    home,
    ...(service !== undefined && { service: service.file }),
    ...(aside !== undefined && { aside }),
  };
  session.show(document, () => {
    const lines = [told ? `${node} has left its cluster; its key opens nothing any more` : `this machine has forgotten its cluster`];
    if (service !== undefined) lines.push(`its service is gone: ${service.file}`);
    if (aside !== undefined) lines.push(`results that nobody took any more are in ${aside}`);
    if (!told) lines.push(`The cluster does not know of it. On the coordinator: openclaw-cluster nodes remove ${node}`);
    return `${lines.join("\n")}\n`;
  });
  return 0;
}

/** undefined: the cluster has forgotten the node already, as after a `leave` that was cut short. */
function notReached(session: Session): (error: unknown) => undefined {
  return (error) => {
    if (!(error instanceof ClusterError)) throw error;
    if (error.code === "node_removed") return undefined;
    if (error.code !== "coordinator_unreachable") throw error;
    throw new ClusterError(
      error.code,
      `${error.detail}; the cluster must hear of it, so that nothing is lost. If it is gone for good: ${session.typed("leave --force")}`,
      { cause: error },
    );
  };
}

async function serviceToRemove(session: Session, { yes, serviceName }: Options): Promise<Service | undefined> {
  const found = await installedService(session, serviceName);
  if (found === undefined || yes === true) return found;
  const said = await session.terminal.ask(`This machine starts its daemon as a service (${found.file}). Take that away, too? [y/N] `);
  if (said === undefined)
    throw new ClusterError("usage", `${found.file} would go on starting the daemon: say --yes where nobody can be asked`);
  return /^y(es)?$/i.test(said.trim()) ? found : undefined;
}
