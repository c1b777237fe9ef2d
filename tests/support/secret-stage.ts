/**
 * The stage on which secrets could show (tests/integration/secrets.test.ts): a coordinator, two workers and their Gateway,
 * each secret known, and everything kept that they say, answer, send each other and start.
 *
 * T1. nats-server is the real one behind a script that has it write every message into its log.
 * T2. The daemons log all they can, and their environment holds tokens, as that of somebody's shell may.
 */
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { INVITE } from "@openclaw-cluster/contract/join";
import { treeOf } from "../../scripts/bench/usage.ts";
import { runCommand } from "../../scripts/daemon.ts";
import { setSecret } from "../../cluster/src/system/secret-file.ts";
import { announcedSleep } from "./announced-sleep.ts";
import { openAnswerRecorder, type AnswerRecorder } from "./answer-recorder.ts";
import { startCluster, writePolicy, type TestCluster, type TestDaemon } from "./daemon.ts";
import { startGateway, type RunningGateway } from "./gateway.ts";
import { startModelServer } from "./model-server.ts";
import { natsBinary } from "./nats.ts";
import { bytesOf, type Place } from "./secret-search.ts";

/** Each with characters that look otherwise in JSON and in an address. */
const canary = (): string => `canary/+"=%${randomBytes(18).toString("base64")}`;
export const GATEWAY_TOKEN = canary();
export const REFUSED_GATEWAY_TOKEN = canary();
export const IN_ENVIRONMENT = canary();
/** That tasks name, and that one node keeps. */
export const IN_PAYLOAD = canary();
/** A token as it would be after a slip of the pen. */
export const WRONG_TOKEN = `occ_aaaaaaaa_${randomBytes(32).toString("base64url")}`;
export const WRONG_CODE = `ocj1_${randomBytes(90).toString("base64url")}`;
/** Prints it in some ways, shows by its length that it is there, and fails. */
export const SAY_IT = [
  'echo "$KEY"; echo "$KEY" >&2; printf %s "$KEY" | base64',
  'printf %.9s "$KEY"; sleep 0.2; echo "${KEY#?????????}"; printf %s "$KEY" | wc -c; false',
].join("; ");
const POLICY = {
  allow: {
    echo: true,
    agents: ["*"],
    tools: ["sessions_list"],
    commands: [["env"], ["sleep", "*"], ["false"], ["nowhere"], ["sh", "-c", SAY_IT]],
    env: ["SAID", "KEY"],
    secrets: ["PAYLOAD"],
  },
};

export interface Stage {
  readonly cluster: TestCluster;
  /** Through the recorder. */
  readonly client: Client;
  readonly recorder: AnswerRecorder;
  readonly gateway: RunningGateway;
  /** Its Gateway's token is in a file; the other's is in its environment. */
  readonly studio: TestDaemon;
  /** Let in by `join` with the code. */
  readonly joined: TestDaemon;
  readonly code: string;
  /** For further files that daemons and commands write. */
  readonly folder: string;
  /** Where Node puts a report when a daemon gets SIGUSR2. */
  readonly reports: string;
  /** Of commands and daemons. */
  readonly words: readonly Place[];
  readonly processes: readonly Place[];
  /** A command, through the recorder. */
  say(...argv: string[]): Promise<void>;
  /** What a daemon that has ended said; before it is started again. */
  keepWords(daemon: TestDaemon): Promise<void>;
  lookAtProcesses(): Promise<void>;
  end(): Promise<void>;
}

export async function openStage(): Promise<Stage> {
  const ends: (() => Promise<void>)[] = [];
  const end = async (): Promise<void> => {
    for (let last = ends.pop(); last !== undefined; last = ends.pop()) await last();
  };
  try {
    return await open(ends, end);
  } catch (error) {
    await end();
    throw error;
  }
}

async function open(ends: (() => Promise<void>)[], end: () => Promise<void>): Promise<Stage> {
  const ground = await mkdtemp(path.join(tmpdir(), "ocx-secrets-"));
  ends.push(() => rm(ground, { recursive: true, force: true }));
  const [folder, reports] = [path.join(ground, "further"), path.join(ground, "reports")];
  for (const one of [folder, reports]) await mkdir(one, { mode: 0o700 });
  const [recorder, model] = [await openAnswerRecorder(), await startModelServer()];
  ends.push(
    () => recorder.close(),
    () => model.close(),
  );
  const gateway = await startGateway({ folder: path.join(ground, "openclaw"), modelUrl: model.url, name: "studio", token: GATEWAY_TOKEN });
  ends.push(() => gateway.stop());
  const binary = path.join(ground, "nats-server");
  await writeFile(binary, `#!/bin/sh\nexec '${await natsBinary()}' -D -VV "$@"\n`, { mode: 0o755 });

  const env = {
    OPENCLAW_CLUSTER_API_ALLOWED_HOSTS: recorder.host,
    OPENCLAW_CLUSTER_LOG_LEVEL: "debug",
    OPENCLAW_GATEWAY_TOKEN: IN_ENVIRONMENT,
    OPENCLAW_CLUSTER_TOKEN: IN_ENVIRONMENT,
    NODE_OPTIONS: `--report-on-signal --report-directory=${reports}`,
  };
  const cluster = await startCluster({ nats: { port: 0, binary } }, { manner: { env } });
  ends.push(() => cluster.end());
  recorder.target = Number(new URL(cluster.url).port);
  const client = openClient({ url: recorder.url, token: cluster.token, transport: nodeTransport() });
  ends.push(() => client.close());
  const sleep = announcedSleep();
  ends.push(async () => sleep.remove());
  const studio = await cluster.addWorker("studio", { slots: 4, policy: POLICY, openclaw: gateway, env: { ...env, ...sleep.env } });

  await setSecret(path.join(studio.home, "secrets.yaml"), "PAYLOAD", IN_PAYLOAD);

  const [words, processes]: [Place[], Place[]] = [[], []];
  const say = async (...argv: string[]): Promise<void> => {
    const where = { OPENCLAW_CLUSTER_HOME: cluster.lead.home, OPENCLAW_CLUSTER_URL: recorder.url };
    const { stdout, stderr } = await runCommand(argv, { env: where }).ended();
    words.push({ name: argv.join(" "), bytes: Buffer.from(stdout + stderr) });
  };
  const home = path.join(cluster.folder, "joined");
  // Past the recorder: the one answer that has to hold a secret.
  const { code } = await cluster.client.invite({ approve: true, ttlMs: INVITE.ttlDefaultMs });
  await say("join", code, "--url", recorder.url, "--home", home, "--node-id", "joined");
  await writePolicy(home, POLICY);
  const its = { OPENCLAW_GATEWAY_URL: gateway.url, OPENCLAW_GATEWAY_TOKEN: GATEWAY_TOKEN };
  const joined = await cluster.startHome(home, { env: { ...env, ...its } });
  return {
    ...{ cluster, client, code, recorder, gateway, studio, joined, folder, reports, words, processes, say, end },
    async keepWords(daemon) {
      const { stdout, stderr } = await daemon.ended();
      words.push({ name: `daemon in ${path.basename(daemon.home)}`, bytes: Buffer.from(stdout + stderr) });
    },
    async lookAtProcesses() {
      for (const daemon of [cluster.lead, studio, joined]) processes.push(...(await processesOf(daemon)));
    },
  };
}

/** What a daemon and its children are seen to be started with. A daemon's own environment is what a person gave it. */
async function processesOf({ pid, home }: TestDaemon): Promise<Place[]> {
  const tree = await treeOf(pid);
  return tree.flatMap((one) => {
    const name = `${one === pid ? "daemon" : "child"} ${one} of ${path.basename(home)}`;
    const places = [{ name: `${name}, command line`, bytes: bytesOf(`/proc/${one}/cmdline`) }];
    return one === pid ? places : [...places, { name: `${name}, environment`, bytes: bytesOf(`/proc/${one}/environ`) }];
  });
}
