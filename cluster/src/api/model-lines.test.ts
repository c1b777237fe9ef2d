import { once } from "node:events";
import { request, type ClientRequest, type IncomingMessage } from "node:http";
import { request as requestTls } from "node:https";
import { connect, type Socket } from "node:net";
import { Readable, type Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { Session } from "@openclaw-cluster/contract/join";
import { afterEach, describe, expect, test, vi } from "vitest";
import { makeAuthority } from "../../../tests/support/authority.ts";
import { FakeCoordinator } from "../../../tests/support/fake-coordinator.ts";
import { COORDINATOR_KEY } from "../../../tests/support/fake-keys.ts";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { answerOver, askOver } from "../models/lines/line.ts";
import { LINE_SESSION, LINE_UPGRADE, linePath, type LineWay, type ModelDesk } from "../models/models.ts";
import { silentLog } from "../system/log.ts";
import { createNodeKeys } from "../trust/keys.ts";
import { isSessionAnswer, makeSessionRequest } from "../trust/session-proof.ts";
import { openApi, type Api } from "./api.ts";
import { AUTH_FAILURES } from "./auth-failures.ts";
import {} from "./model-lines.ts";

const NODE = "gaming" as NodeId;
const SOON = { timeout: 5_000, interval: 2 };
const never = new AbortController().signal;

let api: Api;
const attached: { node: NodeId; way: LineWay; socket: Duplex }[] = [];
const sockets: Duplex[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  attached.length = 0;
  await api.close();
});

const desk: ModelDesk = {
  router: { list: () => Promise.resolve([]), answer: () => Promise.reject(new Error("never")) },
  attach: (node, way, socket) => void attached.push({ node, way, socket }),
};
const authority = makeAuthority();

async function start(leads = true, overTls = false, coordinator = new FakeCoordinator()): Promise<HandClock> {
  const clock = new HandClock();
  const certificate = overTls ? authority.certify(["127.0.0.1"], Date.now()) : undefined;
  const own = { coordinator, ...(leads && { models: desk }), ...(certificate && { certificate }) };
  api = await openApi({ ...own, host: "127.0.0.1", port: 0, clock, log: silentLog });
  return clock;
}

const questionOf = (node: NodeId): ReturnType<typeof makeSessionRequest> =>
  makeSessionRequest(node, COORDINATOR_KEY, createNodeKeys().seed);
const proofOf = (question: object): Record<string, string> => ({
  "x-openclaw-cluster-proof": Buffer.from(JSON.stringify(question)).toString("base64url"),
});

type Answer =
  | { readonly kind: "line"; readonly socket: Duplex; readonly session: unknown }
  | { readonly kind: "refused"; readonly status: number; readonly code: unknown };

async function dial(path: string, headers: Record<string, string>, tls = false): Promise<Answer> {
  const own = {
    host: "127.0.0.1",
    port: api.port,
    path,
    agent: false,
    headers: { connection: "Upgrade", upgrade: LINE_UPGRADE, ...headers },
  };
  const asked: ClientRequest = tls ? requestTls({ ...own, ca: authority.certificate }) : request(own);
  const upgraded = once(asked, "upgrade") as Promise<[IncomingMessage, Duplex, Buffer]>;
  const answered = once(asked, "response") as Promise<[IncomingMessage]>;
  asked.end();
  const [answer, socket, head] = await Promise.race<[IncomingMessage, Duplex?, Buffer?]>([upgraded, answered]);
  if (socket === undefined) {
    upgraded.catch(() => undefined);
    const said = JSON.parse((await text(answer)) || "{}") as { code?: string };
    return { kind: "refused", status: answer.statusCode ?? 0, code: said.code };
  }
  answered.catch(() => undefined);
  sockets.push(socket);
  if (head !== undefined && head.length > 0) socket.unshift(head);
  return { kind: "line", socket, session: JSON.parse(Buffer.from(String(answer.headers[LINE_SESSION]), "base64url").toString()) };
}

describe.each([false, true])("a node that is let in (TLS: %s)", (tls) => {
  test.each(["lend", "ask"] as const)("gets a line, and the coordinator's proof on it: %s (U3)", async (way) => {
    await start(true, tls);
    const question = questionOf(NODE);
    const answer = await dial(linePath(NODE, way), proofOf(question), tls);
    expect(answer.kind).toBe("line");
    if (answer.kind !== "line") return;
    expect(isSessionAnswer(NODE, Session.parse(answer.session), question, COORDINATOR_KEY)).toBe(true);
    await vi.waitFor(() => expect(attached).toMatchObject([{ node: NODE, way }]), SOON);
    // Each side can be the one that answers.
    const ends = [answer.socket, attached[0]?.socket as Duplex] as const;
    const [answering, asking] = way === "lend" ? ends : ([ends[1], ends[0]] as const);
    answerOver(answering, async ({ path, body }) => ({ status: 200, headers: {}, body: Readable.from([`${path} ${await text(body)}`]) }));
    const { body } = await askOver(asking).ask({ path: "/x", headers: {}, body: "y".repeat(200_000) }, never);
    expect(await text(body)).toBe(`/x ${"y".repeat(200_000)}`);
  });
});

describe("nobody else gets one (U1)", () => {
  const refused = async (path: string, headers: Record<string, string>): Promise<unknown> => {
    const answer = await dial(path, headers);
    return answer.kind === "refused" ? [answer.status, answer.code] : answer.kind;
  };

  test("without a proof, or with what is none", async () => {
    await start();
    const path = linePath(NODE, "lend");
    const some: Record<string, string>[] = [
      {},
      { "x-openclaw-cluster-proof": "" },
      { "x-openclaw-cluster-proof": "%%%" },
      proofOf([]),
      proofOf({ nonce: "x" }),
    ];
    for (const headers of some) expect(await refused(path, headers)).toEqual([400, "bad_request"]);
    expect(await refused(path, proofOf({ ...questionOf(NODE), more: 1 }))).toEqual([400, "bad_request"]);
    expect(attached).toHaveLength(0);
  });

  test("with a wrong proof, which counts as a wrong token", async () => {
    const clock = await start();
    const stranger = "stranger" as NodeId;
    for (let tries = 0; tries < AUTH_FAILURES.max; tries++)
      expect(await refused(linePath(stranger, "ask"), proofOf(questionOf(stranger)))).toEqual([401, "unauthorized"]);
    expect(await refused(linePath(NODE, "ask"), proofOf(questionOf(NODE)))).toEqual([429, "overloaded"]);
    clock.advance(AUTH_FAILURES.windowMs);
    expect(await refused(linePath(NODE, "ask"), proofOf(questionOf(NODE)))).toBe("line");
  });

  test("that waits to be let in", async () => {
    const coordinator = new FakeCoordinator();
    const { session } = coordinator;
    coordinator.session = async (...of) => ({ ...(await session.apply(coordinator, of)), state: "pending" });
    await start(true, false, coordinator);
    expect(await refused(linePath(NODE, "lend"), proofOf(questionOf(NODE)))).toEqual([503, "unavailable"]);
    expect(attached).toHaveLength(0);
  });

  test("with a name that is none, from another page, or by another name of ours", async () => {
    await start();
    const proof = proofOf(questionOf(NODE));
    expect(await refused(linePath("A B" as NodeId, "lend").replace(" ", "%20"), proof)).toEqual([400, "bad_request"]);
    expect(await refused(linePath(NODE, "lend"), { ...proof, origin: "https://evil.example" })).toEqual([403, "forbidden"]);
    expect(await refused(linePath(NODE, "lend"), { ...proof, host: "evil.example" })).toEqual([421, "misdirected"]);
  });

  test("where this machine does not lead", async () => {
    await start(false);
    expect(await refused(linePath(NODE, "lend"), proofOf(questionOf(NODE)))).toEqual([503, "unavailable"]);
  });

  test("at another path, or for another protocol: those are requests like any other", async () => {
    await start();
    const proof = proofOf(questionOf(NODE));
    for (const path of [`/api/v1/nodes/${NODE}/models/steal`, `/api/v1/nodes/${NODE}/models/lend/`, "/api/v1/nodes"])
      expect((await refused(path, proof)) as unknown[]).toEqual([expect.any(Number), expect.any(String)]);
    expect(await refused(linePath(NODE, "lend"), { ...proof, upgrade: "websocket" })).toEqual([400, "bad_request"]);
    expect(await refused(linePath(NODE, "lend"), { ...proof, upgrade: "h2c" })).not.toBe("line");
    expect(attached).toHaveLength(0);
  });

  test("who has gone away while its proof was looked at (U2)", async () => {
    const coordinator = new FakeCoordinator();
    const { session } = coordinator;
    const looking = Promise.withResolvers<void>();
    const seen = vi.fn<() => void>();
    coordinator.session = async (...of) => (seen(), await looking.promise, session.apply(coordinator, of));
    await start(true, false, coordinator);
    const asked = request({
      host: "127.0.0.1",
      port: api.port,
      path: linePath(NODE, "lend"),
      headers: { connection: "Upgrade", upgrade: LINE_UPGRADE, ...proofOf(questionOf(NODE)) },
    });
    asked.on("error", () => undefined).end();
    await vi.waitFor(() => expect(seen).toHaveBeenCalled(), SOON);
    asked.destroy();
    await new Promise((resolve) => setTimeout(resolve, 30));
    looking.resolve();
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(attached).toHaveLength(0);
  });

  test("what is said too early is kept for the line, as long as it is little", async () => {
    const coordinator = new FakeCoordinator();
    const { session } = coordinator;
    let looking = Promise.resolve();
    coordinator.session = async (...of) => (await looking, session.apply(coordinator, of));
    await start(true, false, coordinator);
    const speak = async (bytes: number): Promise<Socket> => {
      const socket = connect(api.port, "127.0.0.1");
      sockets.push(socket);
      const headers = { host: `127.0.0.1:${api.port}`, connection: "Upgrade", upgrade: LINE_UPGRADE, ...proofOf(questionOf(NODE)) };
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
      socket.on("error", () => undefined);
      socket.write(`GET ${linePath(NODE, "lend")} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n${"e".repeat(bytes)}`);
      return socket;
    };
    await speak(100);
    await vi.waitFor(() => expect(attached).toHaveLength(1), SOON);
    expect(String(attached[0]?.socket.read())).toBe("e".repeat(100));
    looking = new Promise(() => undefined);
    const loud = await speak(100_000);
    await once(loud, "close");
    expect(attached).toHaveLength(1);
  });
});
