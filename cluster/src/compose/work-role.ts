/** Opens what a worker needs: its place in the cluster, the bus, this machine's OpenClaw, executors and policy. */
import { homedir } from "node:os";
import path from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { ClusterId } from "@openclaw-cluster/contract/ids";
import type { TaskKind } from "@openclaw-cluster/contract/task-spec";
import type { Enrolled } from "@openclaw-cluster/contract/operations";
import type { Bus, Subscription } from "../bus/bus.ts";
import { openEnvelopes } from "../bus/envelopes.ts";
import { connectNats, type MovableBus, type NatsOptions } from "../bus/nats.ts";
import { COORDINATOR } from "../bus/subjects.ts";
import { agentExecutor } from "../executors/agent.ts";
import { commandExecutor, type CommandParts } from "../executors/command.ts";
import { openCommandGuard } from "../executors/command-guard.ts";
import { openConfinement } from "../executors/confinement.ts";
import { echoExecutor } from "../executors/echo.ts";
import type { Executor } from "../executors/executors.ts";
import { withSecrets } from "../executors/secrets.ts";
import { modelExecutor } from "../executors/model.ts";
import { openSchemaCheck } from "../executors/schema-check.ts";
import { toolExecutor } from "../executors/tool.ts";
import { discoverGateway } from "../openclaw/discover.ts";
import { connectGateway } from "../openclaw/gateway.ts";
import type { Gateway } from "../openclaw/openclaw.ts";
import { configuredUrls, keepUrls, knownUrls } from "../system/coordinator-urls.ts";
import { readSecret, readTextFile, writePrivateFile } from "../system/folders.ts";
import { pause } from "../system/pause.ts";
import { openSleepWatch } from "../system/sleep-watch.ts";
import { gatherFacts } from "../worker/facts.ts";
import { DEFAULT_POLICY_YAML, openPolicyFile } from "../worker/policy-file.ts";
import { openWorker, type Worker } from "../worker/worker.ts";
import { waitPatiently } from "./patience.ts";
import { VERSION, type Ground } from "./ground.ts";
import type { LineWhere } from "./model-line.ts";
import { openModelRole } from "./model-role.ts";
import { listenForPromotion } from "./promotion.ts";
import type { LeadRole } from "./seat.ts";
import { coordinatorTrust } from "./coordinator-trust.ts";
import { askIfRemoved } from "./removal.ts";
import { askSession, type Admitted, type SessionQuestion } from "./session.ts";
import { watchSession } from "./session-watch.ts";

/** Running attempts may go on for this long when the daemon is asked to stop. */
const STOP_GRACE_MS = 20_000;
/** When the machine goes to sleep; it waits 2 to 5 s, in which what still runs must be stopped and told. */
const SLEEP_GRACE_MS = 500;
/** Of a control node's own worker: 20 s, in which another one has been elected. */
const CONNECTS_MAX = 40;
const CONNECT_AGAIN_MS = 500;

export async function openWorkRole(ground: Ground, lead: LeadRole | undefined, open: (() => Promise<void>)[]): Promise<void> {
  const { config, folders, clock, log } = ground;
  const { cluster, bus, follow, where } = lead === undefined ? await joinFromAfar(ground) : await joinOwn(ground, lead);
  open.push(() => bus.close());
  const promotion = listenForPromotion(ground, bus);
  open.push(async () => promotion.stop());

  const gateway = await openGateway(ground);
  if (gateway !== undefined) open.push(() => gateway.close());
  // The owner finds the rules written out, ready to edit. A file that was removed on purpose comes back saying the same.
  if ((await readTextFile(folders.policy)) === undefined) await writePrivateFile(folders.policy, DEFAULT_POLICY_YAML);
  const policy = openPolicyFile({ file: folders.policy, clock, log });
  open.push(async () => policy.close());

  // Until the worker has stopped: its last results go where the coordinator is by then.
  let following: Subscription | undefined;
  open.push(async () => following?.stop());
  const worksIn = folders.worker;
  const confinement = openConfinement({ folder: worksIn, clusterHome: folders.home, userHome: homedir(), env: ground.env, log });
  open.push(async () => confinement.close());
  const guard = openCommandGuard(() => confinement.ours());
  open.push(async () => guard.close());
  let graceMs = STOP_GRACE_MS;
  // Before the worker, and so closed after it: what it still asks of a model when it stops goes over the node's line.
  const models = await openModelRole(ground, policy, where, open);
  const schemas = openSchemaCheck(clock);
  open.push(() => schemas.close());
  const executors = executorsFor(ground, { policy, guard, confinement }, gateway);
  if (models !== undefined) executors.set("model", modelExecutor({ lent: models, schemas, policy, clock }) as Executor);
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
      confinement: (own) => confinement.facts(own),
      labels: config.labels,
      slots: config.slots,
      clock,
      log,
      ...(gateway !== undefined && { gateway }),
      ...(models !== undefined && { lends: () => models.told() }),
    }),
    folder: worksIn,
    slots: config.slots,
    diskFloorMiB: config.diskFloorMiB,
    onShutdown: (now) => {
      if (now) graceMs = 0;
      ground.leave();
    },
  });
  following = follow(worker);
  policy.onChange(() => worker.refreshFacts());
  gateway?.onStatus(() => worker.refreshFacts());
  const lent = models?.onChange(() => worker.refreshFacts());
  open.push(async () => lent?.stop());
  // Any of them may have changed while the worker was being opened.
  worker.refreshFacts();
  open.push(() => worker.stop({ graceMs }));
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
  /** From now on the bus goes to where the coordinator is. */
  follow(worker: Worker): Subscription;
  /** Where the control nodes are now. */
  where(): Promise<LineWhere | undefined>;
}

/** The daemon that leads lets its own node in. Nobody can remove that. */
async function joinOwn(ground: Ground, lead: LeadRole): Promise<Joined> {
  const { enrolled, bus } = await connectOwn(ground, lead);
  const follow = (): Subscription => lead.busUrlsChange((urls) => bus.reach(urls));
  const where = async (): Promise<LineWhere> => ({
    urls: [lead.apiUrl, ...lead.controlUrls()],
    ...{ coordinatorKey: enrolled.coordinatorKey, trust: lead.trust },
  });
  return { cluster: enrolled.cluster, bus, follow, where };
}

/** A server that changes hands lets nobody in for a moment, and whoever leads may be another by then. */
async function connectOwn(ground: Ground, lead: LeadRole): Promise<{ enrolled: Enrolled; bus: MovableBus }> {
  for (let tried = 1; ; tried += 1) {
    const enrolled = await enrolOwn(ground, lead);
    try {
      return { enrolled, bus: await connectBus(ground, enrolled, { trust: lead.trust }) };
    } catch (error) {
      const mayPass = error instanceof ClusterError && (error.code === "unauthorized" || error.row.retryable);
      if (!mayPass || tried >= CONNECTS_MAX || ground.signal.aborted) throw error;
      ground.log.warn({ err: error, tried }, "the bus does not let this machine's own node in yet; it is tried again");
    }
    await pause(ground.clock, CONNECT_AGAIN_MS, ground.signal);
  }
}

/** Where the process has died in an exchange of keys, either of the two can be the one that counts. */
function enrolOwn({ keys }: Ground, lead: LeadRole): Promise<Enrolled> {
  const isOther = (error: unknown): boolean => error instanceof ClusterError && error.code === "state_conflict";
  return keys.withEach(({ publicKey }) => lead.enrolOwn(publicKey), isOther);
}

/** Any other asks over HTTP, signed by its key, when a control node is there and has let it in; and again while it runs. */
async function joinFromAfar(ground: Ground): Promise<Joined> {
  const { config, folders, clock, log, keys } = ground;
  const urls = configuredUrls(config.coordinator);
  const { tokenFile } = config.coordinator;
  const trust = await coordinatorTrust(config, folders);
  const token = tokenFile === undefined ? undefined : await readSecret(tokenFile);
  if (urls.length === 0)
    throw new ClusterError("config_invalid", "coordinator.url: a machine that only works needs it; `openclaw-cluster join` writes it");
  const known = { pinFile: folders.coordinatorKey, ...(trust !== undefined && { trust }), ...(token !== undefined && { token }) };
  const question = async (): Promise<SessionQuestion> => ({
    ...{ node: config.nodeId, keys, ...known },
    urls: await knownUrls(config.coordinator, folders, await readSecret(folders.coordinatorKey)),
  });
  const onRefused = askIfRemoved({ question, log, removed: ground.fail });
  const parts = { whom: `the coordinator at ${urls.join(" or ")}`, log, signal: ground.signal, tell: ground.progress, random: Math.random };
  const ask = async (signal: AbortSignal): Promise<Admitted> => askSession(await question(), signal);
  const { admitted, bus } = await waitPatiently(parts, async (signal) => {
    const told = await ask(signal);
    return { admitted: told, bus: await connectBus(ground, told, { trust, onRefused, signal }) };
  });
  const told = ({ coordinatorKey, coordinatorUrls = [], at }: Admitted): Promise<void> =>
    keepUrls(folders, { coordinatorKey, urls: coordinatorUrls, at }).catch((error: unknown) => {
      log.warn({ err: error }, "where the control nodes are could not be kept for the next start");
    });
  await told(admitted);
  const watch = { ask, told, removed: ground.fail, bus, clock, random: Math.random, log };
  const where = async (): Promise<LineWhere> => {
    const coordinatorKey = (await readSecret(folders.coordinatorKey)) ?? admitted.coordinatorKey;
    return { urls: await knownUrls(config.coordinator, folders, coordinatorKey), coordinatorKey, trust };
  };
  return { cluster: admitted.cluster, bus, follow: (worker) => watchSession({ ...watch, worker }), where };
}

/** Nobody but the coordinator has anything to say to a node. */
function connectBus(
  ground: Ground,
  { busUrls, coordinatorKey }: Pick<Admitted, "busUrls" | "coordinatorKey">,
  more: Pick<NatsOptions, "trust" | "onRefused" | "signal">,
): Promise<MovableBus> {
  const { config, keys, log } = ground;
  const node = config.nodeId;
  const keyOf = (party: string): string | undefined => (party === COORDINATOR ? coordinatorKey : undefined);
  // Asked for at each message, as at each connection: the key may be exchanged meanwhile.
  const envelopes = openEnvelopes({ self: node, seed: () => keys.seed, keyOf });
  return connectNats({ urls: busUrls, node, seed: keys, envelopes, log, ...more });
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

function executorsFor(
  { clock, env, folders }: Ground,
  commands: Omit<CommandParts, "inherited">,
  gateway: Gateway | undefined,
): Map<TaskKind, Executor> {
  const { policy } = commands;
  const command = withSecrets(commandExecutor({ ...commands, inherited: env }), { policy, file: folders.secrets });
  const all: Executor[] = [echoExecutor({ clock }) as Executor, command as Executor];
  if (gateway !== undefined)
    all.push(agentExecutor({ gateway, policy, clock }) as Executor, toolExecutor({ gateway, policy, clock }) as Executor);
  return new Map(all.map((executor) => [executor.kind, executor]));
}
