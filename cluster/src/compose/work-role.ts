/** Opens what a worker needs: its place in the cluster, the bus, this machine's OpenClaw, executors and policy. */
import { homedir } from "node:os";
import path from "node:path";
import { openClient } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { ClusterId } from "@openclaw-cluster/contract/ids";
import type { Enrolled } from "@openclaw-cluster/contract/operations";
import { connectNats } from "../bus/nats.ts";
import type { PolicySource } from "../core/policy.ts";
import { agentExecutor } from "../executors/agent.ts";
import { commandExecutor } from "../executors/command.ts";
import { openCommandGuard, type CommandGuard } from "../executors/command-guard.ts";
import { echoExecutor } from "../executors/echo.ts";
import type { Executor, Executors } from "../executors/executors.ts";
import { toolExecutor } from "../executors/tool.ts";
import { discoverGateway } from "../openclaw/discover.ts";
import { connectGateway } from "../openclaw/gateway.ts";
import type { Gateway } from "../openclaw/openclaw.ts";
import { readSecret, readTextFile, writePrivateFile } from "../system/folders.ts";
import { openSleepWatch } from "../system/sleep-watch.ts";
import { gatherFacts } from "../worker/facts.ts";
import { DEFAULT_POLICY_YAML, openPolicyFile } from "../worker/policy-file.ts";
import { openWorker } from "../worker/worker.ts";
import { VERSION, type Ground } from "./ground.ts";
import type { LeadRole } from "./lead-role.ts";
import { askIfRemoved } from "./removal.ts";

/** Running attempts may go on for this long when the daemon is asked to stop. */
const STOP_GRACE_MS = 20_000;
/** When the machine goes to sleep; it waits 2 to 5 s, in which what still runs must be stopped and told. */
const SLEEP_GRACE_MS = 500;

export async function openWorkRole(ground: Ground, lead: LeadRole | undefined, open: (() => Promise<void>)[]): Promise<void> {
  const { config, folders, clock, log, keys } = ground;
  const { enrolled, onRefused } = await enrol(ground, lead);
  const bus = await connectNats({ urls: enrolled.busUrls, node: config.nodeId, seed: keys.seed, log, onRefused });
  open.push(() => bus.close());

  const gateway = await openGateway(ground);
  if (gateway !== undefined) open.push(() => gateway.close());
  // The owner finds the rules written out, ready to edit. A file that was removed on purpose comes back saying the same.
  if ((await readTextFile(folders.policy)) === undefined) await writePrivateFile(folders.policy, DEFAULT_POLICY_YAML);
  const policy = openPolicyFile({ file: folders.policy, clock, log });
  open.push(async () => policy.close());

  const guard = openCommandGuard();
  open.push(async () => guard.close());
  const executors = executorsFor(ground, policy, guard, gateway);
  const worker = await openWorker({
    node: config.nodeId,
    cluster: ClusterId.parse(enrolled.cluster),
    bus,
    clock,
    log,
    executors,
    policy,
    facts: gatherFacts({
      version: VERSION,
      folder: folders.home,
      executors,
      policy,
      labels: config.labels,
      slots: config.slots,
      clock,
      log,
      ...(gateway !== undefined && { gateway }),
    }),
    folder: path.join(folders.data, "worker"),
    slots: config.slots,
    diskFloorMiB: config.diskFloorMiB,
    onShutdown: () => ground.leave(),
  });
  policy.onChange(() => worker.refreshFacts());
  gateway?.onStatus(() => worker.refreshFacts());
  // Either may have changed while the worker was being opened.
  worker.refreshFacts();
  open.push(() => worker.stop({ graceMs: STOP_GRACE_MS }));
  const sleep = openSleepWatch({
    clock,
    log,
    env: ground.env,
    sleeps: () => worker.sleep({ graceMs: SLEEP_GRACE_MS }),
    wakes: () => worker.wake(),
  });
  open.push(async () => sleep?.close());
}

/** The daemon that leads lets its own node in; any other asks over HTTP with the token it was given. */
async function enrol({ config, keys, log, fail }: Ground, lead: LeadRole | undefined): Promise<{ enrolled: Enrolled; onRefused(): void }> {
  const request = { id: config.nodeId, publicKey: keys.publicKey };
  // Nobody can remove the node that leads.
  if (lead !== undefined) return { enrolled: await lead.coordinator.enrol(request), onRefused: () => undefined };
  const { url, tokenFile } = config.coordinator;
  const token = tokenFile === undefined ? undefined : await readSecret(tokenFile);
  if (url === undefined || token === undefined) {
    throw new ClusterError(
      "config_invalid",
      "coordinator.url and coordinator.tokenFile: a machine that only works needs both; `openclaw-cluster join` writes them",
    );
  }
  const client = openClient({ url, token, transport: nodeTransport() });
  try {
    const enrolled = await client.enrol(request);
    return { enrolled, onRefused: askIfRemoved({ node: config.nodeId, coordinator: { url, token }, log, removed: fail }) };
  } finally {
    await client.close();
  }
}

async function openGateway({ config, folders, env, log, clock }: Ground): Promise<Gateway | undefined> {
  if (config.openclaw.enabled === "off") return undefined;
  const token = config.openclaw.tokenFile === undefined ? undefined : await readSecret(config.openclaw.tokenFile);
  const found = await discoverGateway({
    env,
    homedir: homedir(),
    ...(config.openclaw.url !== undefined && { url: config.openclaw.url }),
    ...(token !== undefined && { token }),
  });
  if (found.kind === "none") {
    log.info({ reason: found.reason }, "no OpenClaw on this machine; agent and tool tasks go to other nodes");
    return undefined;
  }
  return connectGateway({ url: found.url, token: found.token, identityFile: path.join(folders.home, "gateway-device.json"), log, clock });
}

function executorsFor({ clock, env }: Ground, policy: PolicySource, guard: CommandGuard, gateway: Gateway | undefined): Executors {
  const all: Executor[] = [echoExecutor({ clock }) as Executor, commandExecutor({ policy, inherited: env, guard }) as Executor];
  if (gateway !== undefined) all.push(agentExecutor({ gateway }) as Executor, toolExecutor({ gateway }) as Executor);
  return new Map(all.map((executor) => [executor.kind, executor]));
}
