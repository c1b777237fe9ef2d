/** S4: what somebody else says at the coordinator's address, and what only the coordinator can say. */
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { createServer as createSilent, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { ClusterError, toProblem, type ErrorCode } from "@openclaw-cluster/contract/errors";
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { SessionRequest } from "@openclaw-cluster/contract/join";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { COORDINATOR_KEY, signAsCoordinator } from "../../../tests/support/fake-keys.ts";
import { createNodeKeys } from "../trust/keys.ts";
import { OwnKey } from "../trust/own-key.ts";
import { proveRefusal } from "../trust/session-proof.ts";
import { signer } from "../trust/signature.ts";
import { askSession, type SessionQuestion } from "./session.ts";

const NODE = NodeId.parse("studio");

let home: string;
let ask: SessionQuestion;
let impostor: Server | undefined;
let api: TestApi | undefined;
beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), "ocx-session-"));
  const pinFile = path.join(home, "coordinator.key");
  await writeFile(pinFile, COORDINATOR_KEY);
  ask = { node: NODE, keys: await OwnKey.open(path.join(home, "node.seed")), urls: [], pinFile };
});
afterEach(async () => {
  impostor?.close();
  impostor = undefined;
  await api?.close();
  api = undefined;
  await rm(home, { recursive: true });
});

/** Says this of itself, whatever it is asked. */
async function standInFor(answer: (question: SessionRequest) => { status: number; body: string }): Promise<string> {
  impostor = createServer((request, response) => {
    void request.toArray().then((pieces) => {
      const { status, body } = answer(JSON.parse(pieces.join("")) as SessionRequest);
      response.writeHead(status, { "content-type": "application/json", connection: "close" }).end(body);
    });
  }).listen(0, "127.0.0.1");
  await once(impostor, "listening");
  return `http://127.0.0.1:${(impostor.address() as AddressInfo).port}`;
}

const problem = (code: ErrorCode, proof?: string): { status: number; body: string } => {
  const error = new ClusterError(code, "no", proof === undefined ? {} : { proof });
  return { status: error.row.status, body: JSON.stringify(toProblem(error)) };
};
const evil = createNodeKeys();

test.each<[string, (question: SessionRequest) => { status: number; body: string }]>([
  ["a refusal without a proof", () => problem("unauthorized")],
  [
    "one that another key has signed",
    (question) => problem("unauthorized", proveRefusal(NODE, "unauthorized", question, signer(evil.seed))),
  ],
  [
    "one of another question",
    (question) => problem("unauthorized", proveRefusal(NODE, "unauthorized", { ...question, nonce: "A".repeat(43) }, signAsCoordinator)),
  ],
  ["that the node was removed", () => problem("node_removed")],
  ["that the request is wrong", () => problem("bad_request")],
  ["a fault of its own", () => problem("internal")],
  ["that there is no such page", () => ({ status: 404, body: "<html>" })],
  ["a public key that anybody can repeat", () => ({ status: 200, body: JSON.stringify({ node: NODE, coordinatorKey: COORDINATOR_KEY }) })],
  [
    "a whole answer, signed by another key",
    () => {
      const told = { node: NODE, cluster: "abcd1234", state: "approved", busUrls: ["nats://127.0.0.1:1"], coordinatorKey: COORDINATOR_KEY };
      return { status: 200, body: JSON.stringify({ ...told, epoch: 1, now: 1, proof: "A".repeat(86) }) };
    },
  ],
])("%s: nobody that this machine knows, which passes by itself", async (_what, answer) => {
  const url = await standInFor(answer);
  const fault = (await askSession({ ...ask, urls: [url] }).catch((error: unknown) => error)) as ClusterError;
  expect(fault).toMatchObject({ code: "coordinator_unreachable", detail: expect.stringContaining("does not prove to be") as string });
  expect(fault.row.retryable).toBe(true);
});

test("the coordinator's own word that it knows no such node counts, and its own answer does", async () => {
  api = await startApi();
  expect(await askSession({ ...ask, urls: [api.url] })).toMatchObject({ state: "approved", coordinatorKey: COORDINATOR_KEY });
  await expect(askSession({ ...ask, node: NodeId.parse("stranger"), urls: [api.url] })).rejects.toMatchObject({ code: "node_removed" });
});

test("of several control nodes one that is dead, one that hangs and one that is a stranger cost a moment (S4)", async () => {
  api = await startApi();
  api.coordinator.coordinatorUrls = [api.url, "http://10.0.0.2:8888"];
  const stranger = await standInFor(() => problem("node_removed"));
  const silent = createSilent().listen(0, "127.0.0.1");
  await once(silent, "listening");
  const hung = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  try {
    const urls = ["http://127.0.0.1:1", stranger, hung, api.url];
    expect(await askSession({ ...ask, urls })).toMatchObject({ at: api.url, coordinatorUrls: [api.url, "http://10.0.0.2:8888"] });
    const dead = askSession({ ...ask, urls: urls.slice(0, 2) });
    await expect(dead).rejects.toMatchObject({ code: "coordinator_unreachable", detail: expect.stringContaining(stranger) as string });
    await expect(dead).rejects.toMatchObject({ detail: expect.stringContaining("http://127.0.0.1:1: ") as string });
    await expect(askSession({ ...ask, node: NodeId.parse("stranger"), urls })).rejects.toMatchObject({ code: "node_removed" });
  } finally {
    silent.close();
  }
});
