/**
 * The demonstration's stage: a coordinator and workers as the public command starts them, each worker with a real
 * OpenClaw Gateway of its own and one scripted model server behind all of them. Everything lies in one folder, is on
 * loopback, and ends with the demonstration.
 */
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import path from "node:path";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { LOCK, claimHome } from "../../cluster/src/system/home-claim.ts";
import { startGateway, type RunningGateway } from "../../tests/support/gateway.ts";
import { startModelServer, type ModelServer } from "../../tests/support/model-server.ts";
import type { Running } from "../child.ts";
import { startDaemon } from "../daemon.ts";

export const NAMES = ["studio", "nas", "gaming", "laptop", "mini", "attic", "office", "garage"] as const;
/** The one node that has the skill. */
export const SKILLED = NAMES[1];
export const SKILL = "release-notes";
const SLOTS = 4;
const API_PORT = 8_888;
const READY_MS = 60_000;
const READY_LOOK_MS = 100;

const POLICY = `version: 1
allow:
  echo: true
  agents: ["*"]
  commands: ["uname -a", "node --version"]
`;

const SKILL_TEXT = `---
name: ${SKILL}
description: Writes release notes from a list of changes.
---
Write one short line for each change, the most important first.
`;

export interface Stage {
  readonly client: Client;
  readonly apiUrl: string;
  /** The coordinator's home; the command finds address and token there. */
  readonly home: string;
  readonly model: ModelServer;
  readonly nodes: readonly string[];
  end(): Promise<void>;
}

export interface StageOptions {
  readonly folder: string;
  readonly workers: number;
  readonly openclaw: boolean;
  say(text: string): void;
}

export async function setStage({ folder, workers, openclaw, say }: StageOptions): Promise<Stage> {
  const nodes = NAMES.slice(0, workers);
  const ends: (() => Promise<void>)[] = [];
  const end = async (): Promise<void> => {
    for (let close = ends.pop(); close !== undefined; close = ends.pop()) await close();
  };
  try {
    ends.push(await emptied(folder));
    const model = await startModelServer({ logFile: path.join(folder, "model.jsonl") });
    ends.push(() => model.close());
    say(openclaw ? `Starting a coordinator and ${workers} OpenClaw Gateways; a Gateway takes 10 to 30 s …` : "Starting a coordinator …");
    const starting = openclaw ? nodes.map((name) => openGateway(folder, name, model.url, say)) : [];
    // Also those that come up after another one failed must end with the stage.
    for (const one of starting) ends.push(async () => (await one.catch(() => undefined))?.stop());
    const home = path.join(folder, "coordinator");
    const lead = await startDaemon(home, {
      nodeId: "coordinator",
      roles: ["coordinator"],
      api: { port: await portFor() },
      nats: { port: 0 },
    });
    ends.push(() => lead.process.end());
    const apiUrl = lead.apiUrl as string;
    say(`The coordinator is up: ${apiUrl}`);
    const gateways = await Promise.all(starting);
    const tokenFile = path.join(home, "admin.token");
    await Promise.all(
      nodes.map(async (name, index) => {
        const worker = await openWorker(path.join(folder, name), name, { url: apiUrl, tokenFile }, gateways[index]);
        ends.push(() => worker.end());
        say(`${name} is up`);
      }),
    );
    const client = openClient({ url: apiUrl, token: (await readFile(tokenFile, "utf8")).trim(), transport: nodeTransport() });
    ends.push(() => client.close());
    await untilReady(client, workers, openclaw);
    return { client, apiUrl, home, model, nodes, end };
  } catch (error) {
    await end();
    throw error;
  }
}

/** The folder, empty and ours until the end: another demonstration in the same clone would take it away. */
async function emptied(folder: string): Promise<() => Promise<void>> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  let claim: { release(): void };
  try {
    claim = claimHome(folder, folder);
  } catch (cause) {
    throw new Error("another one runs in this folder; end it first.", { cause });
  }
  for (const name of await readdir(folder)) if (!name.startsWith(LOCK)) await rm(path.join(folder, name), { recursive: true, force: true });
  return async () => claim.release();
}

async function openGateway(folder: string, name: string, modelUrl: string, say: (text: string) => void): Promise<RunningGateway> {
  const skills = name === SKILLED ? [{ name: SKILL, text: SKILL_TEXT }] : [];
  const gateway = await startGateway({ folder: path.join(folder, name, "openclaw"), modelUrl, name, skills });
  say(`The Gateway of ${name} is up: ${gateway.url}`);
  return gateway;
}

async function openWorker(
  home: string,
  name: string,
  coordinator: { url: string; tokenFile: string },
  gateway: RunningGateway | undefined,
): Promise<Running> {
  await mkdir(home, { recursive: true, mode: 0o700 });
  await writeFile(path.join(home, "policy.yaml"), POLICY, { mode: 0o600 });
  const tokenFile = path.join(home, "gateway.token");
  if (gateway !== undefined) await writeFile(tokenFile, gateway.token, { mode: 0o600 });
  const openclaw = gateway === undefined ? { enabled: "off" } : { url: gateway.url, tokenFile };
  return (await startDaemon(home, { nodeId: name, roles: ["worker"], slots: SLOTS, coordinator, openclaw })).process;
}

/** Ready, with a Gateway that has told what it has: until then the scheduler knows of none. */
async function untilReady(client: Client, workers: number, openclaw: boolean): Promise<void> {
  const end = Date.now() + READY_MS;
  for (;;) {
    const { nodes } = await client.nodesOnline();
    if (nodes.filter(({ facts }) => !openclaw || facts?.openclaw?.reachable === true).length === workers) return;
    if (Date.now() > end) throw new Error(`Not every node was ready within ${READY_MS / 1_000} s.`);
    await new Promise((resolve) => setTimeout(resolve, READY_LOOK_MS));
  }
}

/** The usual port, or any other where that is taken: the demonstration must not meet the user's own cluster. */
function portFor(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(0));
    probe.listen(API_PORT, "127.0.0.1", () => probe.close(() => resolve(API_PORT)));
  });
}
