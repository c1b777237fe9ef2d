/** A node's part in sharing models: its servers, its lines to whoever leads, the endpoint on its loopback, and what tasks ask of them. */
import { randomBytes } from "node:crypto";
import { openModelEndpoint } from "../api/model-endpoint.ts";
import { routerOver } from "../models/lines/asking.ts";
import { lendOver, type Lender } from "../models/lines/lending.ts";
import type { ModelEndpoint, ModelShelf } from "../models/models.ts";
import { NodeRouter } from "../models/routing/node-router.ts";
import { Router } from "../models/routing/router.ts";
import { openModelShelf } from "../models/servers/shelf.ts";
import { readSecret, readTextFile, writePrivateFile } from "../system/folders.ts";
import { choosePort } from "../system/free-port.ts";
import { openPowerWatch } from "../system/power.ts";
import { powerReader } from "../system/power-reading.ts";
import type { PolicyFile } from "../worker/policy-file.ts";
import type { Ground } from "./ground.ts";
import { lendingRule } from "./lending-rule.ts";
import { keepLine, type LineWhere } from "./model-line.ts";
import { openModelTasks, type ModelTasks } from "./model-tasks.ts";

const HOST = "127.0.0.1";
const PORT = 7_801;
const KEY_BYTES = 32;

/** undefined: the settings want none. */
export async function openModelRole(
  ground: Ground,
  policy: PolicyFile,
  where: () => Promise<LineWhere | undefined>,
  open: (() => Promise<void>)[],
): Promise<ModelTasks | undefined> {
  const { config, folders, keys, clock, log } = ground;
  if (config.models.enabled === "off") return undefined;
  const node = config.nodeId;
  const shelf = openModelShelf({ endpoints: await endpointsOf(ground), wellKnown: true, clock, log });
  open.push(async () => shelf.close());
  const own = new Router({ aliases: () => config.models.aliases, clock, log });
  own.lends(node, ownLender(shelf));
  const router = new NodeRouter(own);
  const line = { node, keys, where, clock, random: Math.random, log };
  const power = openPowerWatch({ read: powerReader({ platform: process.platform, env: ground.env }), clock, log });
  const rule = lendingRule({ node, policy, power, clock });
  const lending = keepLine({ ...line, way: "lend", use: (socket) => lendOver(socket, shelf, rule) });
  open.push(async () => lending.close());
  const asking = keepLine({
    ...line,
    way: "ask",
    use(socket) {
      const cluster = routerOver(socket, { node, ask: (question, signal) => shelf.ask(question, signal) });
      router.cluster = cluster;
      void cluster.ended.then(() => (router.cluster = router.cluster === cluster ? undefined : router.cluster));
      return cluster;
    },
  });
  open.push(async () => asking.close());
  const kept = Number(await readTextFile(folders.modelsPort)) || undefined;
  const port = await choosePort(HOST, config.models.port, kept, PORT);
  const key = await ownKey(folders.modelsKey);
  const at = { router, key, asker: { token: node, name: `node:${node}` }, clock, log };
  // Another program may have taken it since.
  const endpoint = await openModelEndpoint({ ...at, port }).catch((error: unknown) => {
    if (config.models.port !== undefined) throw error;
    return openModelEndpoint({ ...at, port: 0 });
  });
  open.push(() => endpoint.close());
  if (kept !== endpoint.port) await writePrivateFile(folders.modelsPort, `${endpoint.port}\n`);
  log.info({ url: endpoint.url }, "the models of all nodes are at hand");
  return openModelTasks({ node, router, shelf, rule, policy });
}

async function endpointsOf({ config }: Ground): Promise<ModelEndpoint[]> {
  return Promise.all(
    config.models.endpoints.map(async ({ name, url, kind, apiKeyFile, paid }) => {
      const apiKey = apiKeyFile === undefined ? undefined : await readSecret(apiKeyFile);
      return {
        name,
        url,
        ...(kind !== undefined && { kind }),
        ...(apiKey !== undefined && { apiKey }),
        ...(paid !== undefined && { paid }),
      };
    }),
  );
}

/** Made at the first start, and again when its file is gone. */
async function ownKey(file: string): Promise<string> {
  const known = await readSecret(file);
  if (known !== undefined) return known;
  const key = `ocm_${randomBytes(KEY_BYTES).toString("base64url")}`;
  await writePrivateFile(file, `${key}\n`);
  return key;
}

/** Without a line: this machine's own models, for itself. */
function ownLender(shelf: ModelShelf): Lender {
  return {
    get models() {
      return shelf.models;
    },
    onChange: (listener) => shelf.onChange(listener),
    ask: (question, _asker, signal) => shelf.ask(question, signal),
    ended: new Promise(() => undefined),
    roundTripMs: 0,
    close: () => undefined,
  };
}
