/** Opens what a worker needs: its place in the cluster, the bus, this machine's OpenClaw, executors and policy. */
import { homedir } from "node:os";
import path from "node:path";
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { ClusterId } from "@openclaw-cluster/contract/ids";
import type { Bus } from "../bus/bus.ts";
import { openEnvelopes } from "../bus/envelopes.ts";
import { connectNats, type NatsOptions } from "../bus/nats.ts";
import { COORDINATOR } from "../bus/subjects.ts";
import type { PolicySource } from "../core/policy.ts";
import { agentExecutor } from "../executors/agent.ts";
import { commandExecutor } from "../executors/command.ts";
import { openCommandGuard, type CommandGuard } from "../executors/command-guard.ts";
import { echoExecutor } from "../executors/echo.ts";
import type { Executor, Executors } from "../executors/executors.ts";
import { withSecrets } from "../executors/secrets.ts";
import { toolExecutor } from "../executors/tool.ts";
import { discoverGateway } from "../openclaw/discover.ts";
import { connectGateway } from "../openclaw/gateway.ts";
import type { Gateway } from "../openclaw/openclaw.ts";
import { readSecret, readTextFile, writePrivateFile } from "../system/folders.ts";
import { openSleepWatch } from "../system/sleep-watch.ts";
import { readTrust } from "../system/trust-file.ts";
import { gatherFacts } from "../worker/facts.ts";
import { DEFAULT_POLICY_YAML, openPolicyFile } from "../worker/policy-file.ts";
import { openWorker } from "../worker/worker.ts";
import { waitPatiently } from "./patience.ts";
import { VERSION, type Ground } from "./ground.ts";
import type { LeadRole } from "./lead-role.ts";
import { askIfRemoved } from "./removal.ts";
import { askSession, type Admitted } from "./session.ts";

/** Running attempts may go on for this long when the daemon is asked to stop. */
const STOP_GRACE_MS = 20_000;
/** When the machine goes to sleep; it waits 2 to 5 s, in which what still runs must be stopped and told. */
const SLEEP_GRACE_MS = 500;

export async function openWorkRole(ground: Ground, lead: LeadRole | undefined, open: (() => Promise<void>)[]): Promise<void> {
  const { config, folders, clock, log } = ground;
  const { cluster, bus } = lead === undefined ? await joinFromAfar(ground) : await joinOwn(ground, lead);
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
    cluster: ClusterId.parse(cluster),
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

interface Joined {
  readonly cluster: string;
  readonly bus: Bus;
}

/** The daemon that leads lets its own node in. Nobody can remove that. */
async function joinOwn(ground: Ground, lead: LeadRole): Promise<Joined> {
  const admitted = await lead.coordinator.enrol({ id: ground.config.nodeId, publicKey: ground.keys.publicKey });
  return { cluster: admitted.cluster, bus: await connectBus(ground, admitted, { trust: lead.trust }) };
}

/** Any other asks over HTTP, signed by its key, when the coordinator is there and has let it in. */
async function joinFromAfar(ground: Ground): Promise<Joined> {
  const { config, folders, log, keys } = ground;
  const { url, tokenFile } = config.coordinator;
  const trust = await trustOf(ground);
  const token = tokenFile === undefined ? undefined : await readSecret(tokenFile);
  if (url === undefined)
    throw new ClusterError("config_invalid", "coordinator.url: a machine that only works needs it; `openclaw-cluster join` writes it");
  const known = { pinFile: folders.coordinatorKey, ...(trust !== undefined && { trust }) };
  const ask = { node: config.nodeId, keys, url, ...known, ...(token !== undefined && { token }) };
  const onRefused = askIfRemoved({ ask, log, removed: ground.fail });
  const parts = { whom: `the coordinator at ${url}`, log, signal: ground.signal, tell: ground.progress, random: Math.random };
  return waitPatiently(parts, async (signal) => {
    const admitted = await askSession(ask, signal);
    return { cluster: admitted.cluster, bus: await connectBus(ground, admitted, { trust, onRefused, signal }) };
  });
}

/** As `join` has left it, unless the settings name another file; without one the system's authorities count. */
async function trustOf({ config, folders }: Ground): Promise<Trust | undefined> {
  const { caFile } = config.coordinator;
  const trust = await readTrust(caFile ?? folders.coordinatorAuthority);
  if (trust === undefined && caFile !== undefined) throw new ClusterError("config_invalid", `coordinator.caFile: there is no ${caFile}`);
  return trust;
}

/** Nobody but the coordinator has anything to say to a node. */
function connectBus(
  ground: Ground,
  { busUrls, coordinatorKey }: Admitted,
  more: Pick<NatsOptions, "trust" | "onRefused" | "signal">,
): Promise<Bus> {
  const { config, keys, log } = ground;
  const node = config.nodeId;
  const keyOf = (party: string): string | undefined => (party === COORDINATOR ? coordinatorKey : undefined);
  const envelopes = openEnvelopes({ self: node, seed: keys.seed, keyOf });
  return connectNats({ urls: busUrls, node, seed: keys.seed, envelopes, log, ...more });
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

function executorsFor({ clock, env, folders }: Ground, policy: PolicySource, guard: CommandGuard, gateway: Gateway | undefined): Executors {
  const command = withSecrets(commandExecutor({ policy, inherited: env, guard }), { policy, file: folders.secrets });
  const all: Executor[] = [echoExecutor({ clock }) as Executor, command as Executor];
  if (gateway !== undefined) all.push(agentExecutor({ gateway }) as Executor, toolExecutor({ gateway }) as Executor);
  return new Map(all.map((executor) => [executor.kind, executor]));
}
