/**
 * A3 on every route: whoever has spent its wrong tokens is answered before a token or a body is looked at, on the loopback as
 * anywhere, and no route is a way to try more.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { OPERATIONS } from "@openclaw-cluster/contract/operations";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startApi, type Answered, type TestApi } from "../../../tests/support/api-server.ts";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { rawAsk } from "../../../tests/support/raw-request.ts";
import { createToken } from "../trust/token.ts";
import { AUTH_FAILURES } from "./auth-failures.ts";

interface Route {
  readonly method: string;
  readonly path: string;
  readonly isProof: boolean;
}

/** Everything that there is, and a path at which there is nothing; `/healthz` asks for no token. */
const ROUTES: readonly Route[] = [
  ...Object.values(OPERATIONS).map(({ method, path, scope }) => ({
    method: method.toUpperCase(),
    path: `/api/v1${path.replaceAll(/\{\w+\}/g, "none1")}`,
    isProof: scope === "proof",
  })),
  ...["/readyz", "/metrics", "/openapi.json", "/nothing"].map((path) => ({ method: "GET", path, isProof: false })),
];
const JOIN = {
  ...{ invite: "abcdefgh", node: "stranger", publicKey: `U${"A".repeat(55)}`, hostname: "nas", os: "linux" },
  ...{ nonce: "n".repeat(43), proof: "p".repeat(43), signature: "s".repeat(86) },
};
const { max, windowMs } = AUTH_FAILURES;

let api: TestApi;
let clock: HandClock;
beforeEach(async () => {
  clock = new HandClock();
  api = await startApi({ clock });
});
afterEach(() => api.close());

const guess = ({ method, path }: Pick<Route, "method" | "path">, more: { localAddress?: string } = {}): Promise<Answered> =>
  api.ask({ method, path, headers: { authorization: `Bearer ${createToken().token}` }, ...(method !== "GET" && { body: {} }), ...more });
const join = (): Promise<Answered> => api.ask({ method: "POST", path: "/api/v1/join", body: JOIN, headers: { authorization: undefined } });

async function spend(): Promise<void> {
  for (let tries = 0; tries < max; tries++) expect((await guess({ method: "GET", path: "/api/v1/cluster" })).status).toBe(401);
}

test("each route counts what it is tried with, and closes", async () => {
  for (const route of ROUTES.filter(({ isProof }) => !isProof)) {
    for (let tries = 0; tries < max; tries++) expect({ ...route, status: (await guess(route)).status }).toEqual({ ...route, status: 401 });
    expect({ ...route, status: (await guess(route)).status }).toEqual({ ...route, status: 429 });
    clock.advance(windowMs);
  }
});

test("then every route is closed, the right token and proofs included, before anything is looked at", async () => {
  await spend();
  const { lookups } = api.coordinator;
  for (const { method, path } of ROUTES) {
    const head = [`${method} ${path} HTTP/1.1`, `Host: 127.0.0.1:${api.port}`, `Authorization: Bearer ${api.tokens.admin}`];
    // The body never comes: whoever waited for it would not answer.
    const sending = method === "GET" ? [] : ["Content-Type: application/json", "Content-Length: 1000"];
    const { status, head: headers } = await rawAsk(api.dial(), [...head, ...sending]);
    expect({ path, status, waits: headers.includes("retry-after: 60") }).toEqual({ path, status: 429, waits: true });
  }
  expect([api.coordinator.lookups, api.coordinator.joins]).toEqual([lookups, []]);
  expect((await api.ask({ path: "/healthz", headers: { authorization: undefined } })).status).toBe(200);
  clock.advance(windowMs);
  expect((await api.ask({ path: "/api/v1/cluster" })).status).toBe(200);
});

// Other systems have one loopback address only.
test.skipIf(process.platform !== "linux")("an address that is shut out shuts out no other, of the loopback neither", async () => {
  await spend();
  expect((await api.ask({ path: "/api/v1/cluster" })).status).toBe(429);
  expect((await api.ask({ path: "/api/v1/cluster", localAddress: "127.0.0.2" })).status).toBe(200);
  for (let tries = 0; tries < max; tries++) await guess({ method: "GET", path: "/api/v1/cluster" }, { localAddress: "127.0.0.2" });
  expect((await api.ask({ path: "/api/v1/cluster", localAddress: "127.0.0.2" })).status).toBe(429);
});

test("proofs at once are no way around the limit: no more are looked at than may fail", async () => {
  let looked = 0;
  const { promise: judged, resolve: judge } = Promise.withResolvers<void>();
  api.coordinator.join = async () => {
    looked += 1;
    await judged;
    throw new ClusterError("unauthorized", "This join code is unknown.");
  };
  const answers: number[] = [];
  const tries = Array.from({ length: 3 * max }, async () => answers.push((await join()).status));
  await expect.poll(() => answers.length).toBe(2 * max);
  expect([looked, new Set(answers)]).toEqual([max, new Set([429])]);
  judge();
  await Promise.all(tries);
  expect([looked, answers.filter((status) => status === 401).length]).toEqual([max, max]);
  expect((await api.ask({ path: "/api/v1/cluster" })).status).toBe(429);
  expect(api.coordinator.guesses).toEqual(["127.0.0.1"]);
});

test("proofs that are good use nothing up", async () => {
  const good = () =>
    api.ask({ method: "POST", path: "/api/v1/join", body: { ...JOIN, node: "nas2" }, headers: { authorization: undefined } });
  for (let tries = 0; tries < 2 * max; tries++) expect((await good()).status).toBe(200);
});
