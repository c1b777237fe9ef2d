/**
 * Lending models opens no port: all of a host's ports are tried from another host, before it lends anything, and while a model of it,
 * whose server listens on its loopback, answers for somebody else. What can be reached is the same.
 */
import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run, type Running } from "../../scripts/child.ts";
import { until } from "../support/daemon.ts";
import { API_PORT, NATS_PORT, openFourHosts, type FourHosts } from "../support/four-hosts.ts";
import { whyNoHosts } from "../support/hosts.ts";
import { listenersOf } from "../support/listening.ts";

const whyNot = whyNoHosts();
const SERVER = fileURLToPath(new URL("../support/model-shape.child.ts", import.meta.url));
/** Ollama's own, at which it is found without any setting; and a node's endpoint. */
const SERVER_PORT = 11_434;
const ENDPOINT_PORT = 7_801;
const MODEL = "llama3:8b";
const TEST_MS = 120_000;

/** Prints the ports that take a call, as JSON. A host answers for a closed one at once, so nothing is lost by a short patience. */
const SWEEP = `
  const [host] = process.argv.slice(1);
  const net = require("node:net");
  const open = [];
  let next = 1;
  const one = (port) => new Promise((resolve) => {
    const socket = net.connect({ host, port, timeout: 5000 });
    const end = (isOpen) => { if (isOpen) open.push(port); socket.destroy(); resolve(); };
    socket.on("connect", () => end(true)).on("error", (error) => end(error.code !== "ECONNREFUSED")).on("timeout", () => end(true));
  });
  const work = async () => { while (next <= 65535) await one(next++); };
  Promise.all(Array.from({ length: 64 }, work)).then(() => console.log(JSON.stringify(open.sort((a, b) => a - b))));
`;

describe.skipIf(whyNot !== undefined)(
  `the ports of a host that lends a model${whyNot === undefined ? "" : ` (skipped: ${whyNot})`}`,
  () => {
    let stage: FourHosts;
    let server: Running | undefined;
    beforeAll(async () => {
      stage = await openFourHosts();
      await stage.join("nas1");
      await stage.join("nas2");
    });
    afterAll(async () => {
      await server?.end("SIGKILL");
      await stage?.end();
    });

    /** From the host of somebody who has no part in the cluster, and from one of the cluster's. */
    async function sweep(): Promise<Record<string, number[]>> {
      const found: Record<string, number[]> = {};
      for (const from of ["stranger", "nas2"] as const) {
        for (const to of ["lead", "nas1"] as const) {
          const argv = [...stage[from].inside, process.execPath, "-e", SWEEP, stage[to].address];
          found[`${from} to ${to}`] = JSON.parse(await run(argv[0] as string, argv.slice(1)).output()) as number[];
        }
      }
      return found;
    }

    test("are those that were open before", { timeout: TEST_MS }, async () => {
      const wanted = [NATS_PORT, API_PORT].sort((a, b) => a - b);
      const before = await sweep();
      expect(before).toEqual({ "stranger to lead": wanted, "stranger to nas1": [], "nas2 to lead": wanted, "nas2 to nas1": [] });

      const options = { port: SERVER_PORT, models: [{ id: MODEL }], mode: "endless", tokensPerSecond: 20 };
      const argv = [
        ...stage.nas1.inside,
        "setpriv",
        "--pdeathsig",
        "KILL",
        "--",
        process.execPath,
        SERVER,
        "ollama",
        JSON.stringify(options),
      ];
      server = run(argv[0] as string, argv.slice(1));
      await server.says(/ready/);
      const lent = async (): Promise<true | undefined> =>
        (await stage.client.models()).models.some(({ id, node }) => id === MODEL && node === "nas1") || undefined;
      await until("the model is lent", lent);

      const api = await stage.lead.reach({ host: stage.listensOn, port: API_PORT });
      const headers = { host: `${stage.listensOn}:${API_PORT}`, authorization: `Bearer ${stage.cluster.token}` };
      const sent = request({ port: api, method: "POST", path: "/v1/chat/completions", headers });
      sent.end(JSON.stringify({ model: MODEL, stream: true, messages: [{ role: "user", content: "hello" }] }));
      const [answer] = (await once(sent, "response")) as [IncomingMessage];
      expect([answer.statusCode, answer.headers["x-cluster-node"]]).toEqual([200, "nas1"]);
      let words = 0;
      answer.on("data", () => (words += 1));
      expect(await sweep()).toEqual(before);
      const seen = words;
      await until("it still answers", () => words > seen || undefined);
      answer.on("error", () => undefined);
      sent.destroy();

      // It is there, for its own host alone.
      const listening = (await listenersOf(stage.nas1)).map(({ protocol, address, port }) => `${protocol} ${address}:${port}`);
      expect(listening.sort()).toEqual([`tcp 127.0.0.1:${SERVER_PORT}`, `tcp 127.0.0.1:${ENDPOINT_PORT}`]);
    });
  },
);
