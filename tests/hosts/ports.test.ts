/**
 * Every port of every host, as the hosts themselves tell of them: they are those that docs/deployment.md names, and none of them gives
 * anything to whoever has no credential or a wrong one, but `/healthz`. The ports of the tailnet and of the local network are tried
 * from a stranger's host, those of the loopback from the host itself; in the local network all that is tried goes over TLS, and what is
 * no TLS is told nothing.
 */
import { connect as dial } from "node:net";
import { connect as dialTls } from "node:tls";
import { DatabaseSync } from "node:sqlite";
import path from "node:path";
import { connect, errors, nkeyAuthenticator } from "@nats-io/transport-node";
import { Problem } from "@openclaw-cluster/contract/errors";
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { Operation } from "@openclaw-cluster/contract/operation";
import { OPERATIONS } from "@openclaw-cluster/contract/operations";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createNodeKeys, type NodeKeys } from "../../cluster/src/trust/keys.ts";
import { createToken } from "../../cluster/src/trust/token.ts";
import { run } from "../../scripts/child.ts";
import { ask, type Answered } from "../support/api-server.ts";
import { API_PORT, HOST_NAMES, NATS_PORT, openFourHosts, type FourHosts, type HostName } from "../support/four-hosts.ts";
import { whyNoHosts } from "../support/hosts.ts";
import { documentedPorts, listenersOf } from "../support/listening.ts";

const whyNot = whyNoHosts();
/** As docs/deployment.md calls the roles. */
const ROLES: Readonly<Record<HostName, string>> = { lead: "coordinator", nas1: "worker", nas2: "worker", stranger: "none" };
/** Of each worker, on its loopback. */
const MODELS_PORT = 7_801;
const GHOST = NodeId.parse("ghost");
/** Beside the table of operations, and what is nowhere. */
const PLAIN = ["/readyz", "/metrics", "/openapi.json", "/", "/api", "/api/v2/tasks", "/..%2fadmin.token", "/healthz/", "/api/v1/healthz"];

interface Route {
  readonly method: string;
  readonly path: string;
  readonly scope: string;
  readonly body?: object;
}
const ROUTES: readonly Route[] = [
  ...Object.values<Operation>(OPERATIONS).map(({ method, path: form, scope, body }) => ({
    method: method.toUpperCase(),
    path: `/api/v1${form.replaceAll(/\{\w+\}/g, "none1")}`,
    scope,
    ...(body !== undefined && { body: {} }),
  })),
  ...PLAIN.map((place) => ({ method: "GET", path: place, scope: "viewer" })),
  ...["OPTIONS", "TRACE", "PUT"].map((method) => ({ method, path: "/api/v1/tasks", scope: "viewer" })),
];

/** Everything that comes back until the other side ends it. `ca`: over TLS. */
function talk(port: number, said: string | Uint8Array, ca?: string): Promise<string> {
  return new Promise((resolve) => {
    const socket =
      ca === undefined
        ? dial(port, "127.0.0.1", () => socket.write(said))
        : dialTls({ port, host: "127.0.0.1", ca }, () => socket.write(said));
    let heard = "";
    socket.on("data", (piece) => (heard += piece.toString("latin1")));
    // However it ends.
    socket.on("error", () => socket.destroy());
    socket.on("end", () => socket.destroy());
    socket.on("close", () => resolve(heard));
  });
}

describe.skipIf(whyNot !== undefined).each(["tailscale", "lan", "127.0.0.1"] as const)(
  `the ports of four hosts, with api.host %s${whyNot === undefined ? "" : ` (skipped: ${whyNot})`}`,
  (place) => {
    let stage: FourHosts;
    /** What leads to the two ports from where they are tried. */
    let [api, nats] = [0, 0];
    let revoked: NodeKeys;
    let tokens: { expired: string; revoked: string };
    let secrets: string[];
    beforeAll(async () => {
      stage = await openFourHosts({ place });
      const { client, listensOn } = stage;
      const isLoopback = place === "127.0.0.1";
      if (!isLoopback) await stage.join("nas1");
      const from = isLoopback ? stage.lead : stage.stranger;
      api = await from.reach({ host: listensOn, port: API_PORT });
      nats = await from.reach({ host: listensOn, port: NATS_PORT });
      revoked = createNodeKeys();
      await client.enrol({ id: GHOST, publicKey: revoked.publicKey });
      await client.revokeNode({ id: GHOST });
      tokens = await deadTokens();
      secrets = [(await client.cluster()).id, stage.cluster.token, "ghost"];
    });
    afterAll(() => stage?.end());

    async function deadTokens(): Promise<{ expired: string; revoked: string }> {
      const { client, cluster } = stage;
      const [taken, old] = [
        await client.makeToken({ name: "taken", scope: "admin" }),
        await client.makeToken({ name: "old", scope: "admin" }),
      ];
      await client.revokeToken({ id: taken.id });
      // A token lives for a minute at least; nobody need wait for that.
      await cluster.lead.stop();
      const database = new DatabaseSync(path.join(cluster.lead.home, "data", "cluster.db"));
      database.prepare("UPDATE tokens SET token = json_set(token, '$.expiresAt', 1) WHERE id = ?").run(old.id);
      database.close();
      await cluster.lead.start();
      return { expired: old.token, revoked: taken.token };
    }

    const knock = ({ method, path: at, body }: Route, headers: Record<string, string> = {}): Promise<Answered> =>
      ask(api, "", {
        ...{ method, path: at },
        headers: { authorization: undefined, host: `${stage.listensOn}:${API_PORT}`, ...headers },
        ca: stage.ca,
        ...(body !== undefined && { body }),
      });
    /** A refusal in our own words, and nothing else. */
    const expectRefusal = (answer: Answered, route: Route): void => {
      expect({ ...route, status: answer.status, client: answer.status >= 400 && answer.status < 500 }).toMatchObject({ client: true });
      expect(Problem.strict().safeParse(answer.json).error).toBeUndefined();
      for (const secret of secrets) expect(answer.text).not.toContain(secret);
    };

    test("those that are open are those that docs/deployment.md names, at the address that was asked for", async () => {
      const documented = await documentedPorts();
      expect(documented.length).toBeGreaterThan(0);
      let list = "";
      for (const name of HOST_NAMES) {
        const open = await listenersOf(stage[name]);
        for (const { protocol, address, port, program } of open) list += `${name.padEnd(9)} ${protocol} ${address}:${port} ${program}\n`;
        if (open.length === 0) list += `${name.padEnd(9)} none\n`;
        const runs = name === "lead" || (name === "nas1" && place !== "127.0.0.1");
        const wanted = runs ? documented.filter(({ who }) => who.startsWith(`${ROLES[name]}:`)) : [];
        const sorted = (ports: readonly { protocol: string; port: number }[]): string[] =>
          ports.map(({ protocol, port }) => `${protocol} ${port}`).sort();
        expect({ name, open: sorted(open) }).toEqual({ name, open: sorted(wanted) });
        for (const { address } of open) expect(address).toBe(ROLES[name] === "worker" ? "127.0.0.1" : stage.listensOn);
      }
      process.stdout.write(`listening, with api.host ${place}:\n${list}`);
    });

    test("from another host nothing of the loopback answers, nor anything of a worker", async () => {
      const script = `const [host, port] = process.argv.slice(1);
        const socket = require("node:net").connect({ host, port, timeout: 5000 });
        for (const event of ["connect", "error", "timeout"]) socket.once(event, (e) => { console.log(e?.code ?? event); process.exit(); });`;
      for (const [address, reachable] of [
        [stage.listensOn, place !== "127.0.0.1"],
        [stage.lead.address, place === "tailscale"],
        [stage.nas1.address, false],
      ] as const) {
        for (const port of [API_PORT, NATS_PORT, MODELS_PORT]) {
          const argv = [...stage.stranger.inside, process.execPath, "-e", script, address, String(port)];
          const said = (await run(argv[0] as string, argv.slice(1)).output()).trim();
          const isOpen = reachable && port !== MODELS_PORT;
          expect({ address, port, said }).toEqual({ address, port, said: isOpen ? "connect" : "ECONNREFUSED" });
        }
      }
    });

    test("HTTP: only /healthz, and only its one word", async () => {
      const { status, text } = await knock({ method: "GET", path: "/healthz", scope: "" });
      expect([status, text]).toEqual([200, '{"status":"ok"}']);
      expectRefusal(await knock({ method: "GET", path: "/healthz", scope: "" }, { host: "evil.example" }), {
        method: "GET",
        path: "/healthz",
        scope: "",
      });
    });

    test("HTTP without a token: every route refuses, and says why", async () => {
      for (const route of ROUTES) {
        const answer = await knock(route);
        expectRefusal(answer, route);
        if (route.scope !== "proof") expect({ ...route, status: answer.status }).toEqual({ ...route, status: 401 });
      }
    });

    test("HTTP with a credential that is none: unknown, expired, revoked, of another kind, in another place", async () => {
      const route: Route = { method: "GET", path: "/api/v1/nodes", scope: "viewer" };
      const unknown = createToken().token;
      for (const token of [unknown, tokens.expired, tokens.revoked, `${tokens.expired}x`]) {
        const answer = await knock(route, { authorization: `Bearer ${token}` });
        expectRefusal(answer, route);
        expect(answer.status).toBe(401);
      }
      const { token } = stage.cluster;
      const elsewhere: [Route, Record<string, string>][] = [
        [route, { authorization: `Basic ${Buffer.from(`admin:${token}`).toString("base64")}` }],
        [route, { authorization: token }],
        [route, { cookie: `token=${token}` }],
        [route, { "x-api-key": token }],
        [{ ...route, path: `${route.path}?token=${token}` }, {}],
        [{ ...route, path: `${route.path}?access_token=${token}` }, {}],
      ];
      for (const [one, headers] of elsewhere) expectRefusal(await knock(one, headers), one);
    });

    test("HTTP with wrong tokens on every route: refused, and soon not even looked at", async () => {
      const { token } = createToken();
      const statuses = new Set<number>();
      for (const route of ROUTES) {
        const answer = await knock(route, { authorization: `Bearer ${token}` });
        expectRefusal(answer, route);
        statuses.add(answer.status);
      }
      expect(statuses).toContain(429);
    });

    test("NATS: no key, a foreign one, a revoked one, a password", async () => {
      const foreign = createNodeKeys();
      const key = (keys: NodeKeys) => ({ authenticator: nkeyAuthenticator(keys.seed as Uint8Array) });
      const tls = stage.ca === undefined ? {} : { tls: { ca: stage.ca, handshakeFirst: true } };
      for (const credential of [{}, { user: "admin", pass: "admin" }, { token: stage.cluster.token }, key(foreign), key(revoked)]) {
        await expect(connect({ servers: `127.0.0.1:${nats}`, reconnect: false, ...tls, ...credential })).rejects.toBeInstanceOf(
          errors.AuthorizationError,
        );
      }
    });

    test.each([
      ["nothing", ""],
      ["a subscription", "SUB > 1\r\nPING\r\n"],
      ["a message", "PUB ocx.down.nas1.control 2\r\n{}\r\n"],
      ["a connection without a credential", 'CONNECT {"verbose":true}\r\nSUB > 1\r\nPING\r\n'],
      ["a connection with an empty key", 'CONNECT {"nkey":"","sig":""}\r\nPING\r\n'],
      ["HTTP", "GET /varz HTTP/1.0\r\n\r\n"],
      ["TLS", Buffer.from("16030100310100002d0303", "hex")],
      ["bytes", Buffer.alloc(4_096, 0xff)],
    ])("NATS, in raw bytes, %s: its greeting and a refusal", async (_what, said) => {
      const lines = (await talk(nats, said, stage.ca)).split("\r\n").filter(Boolean);
      expect(lines[0]).toMatch(/^INFO \{/);
      // It also asks whether anybody is still there.
      for (const line of lines.slice(1)) expect(line).toMatch(/^(-ERR |PING$)/);
      const greeting = JSON.parse((lines[0] ?? "").slice("INFO ".length)) as Record<string, unknown>;
      expect(greeting).toMatchObject({ auth_required: true, nonce: expect.any(String) as string });
      for (const secret of secrets) expect(lines.join("\n")).not.toContain(secret);
    });

    test.each([
      ["nothing", ""],
      ["half a request", "GET /healthz HTTP/1.1\r\nhost: x"],
      ["NATS", 'CONNECT {"verbose":true}\r\nPING\r\n'],
      ["TLS", Buffer.from("16030100310100002d0303", "hex")],
      ["an upgrade", "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"],
      ["a tunnel", "CONNECT 127.0.0.1:4222 HTTP/1.1\r\nhost: 127.0.0.1:4222\r\n\r\n"],
      ["a proxy's request", `GET http://127.0.0.1:${NATS_PORT}/ HTTP/1.1\r\nhost: 127.0.0.1:${NATS_PORT}\r\nconnection: close\r\n\r\n`],
      ["bytes", Buffer.alloc(4_096, 0xff)],
    ])("HTTP, in raw bytes, %s: a refusal or nothing", async (_what, said) => {
      const heard = await talk(api, said, stage.ca);
      expect(heard).toMatch(/^$|^HTTP\/1\.1 (4\d\d|503) /);
      for (const secret of secrets) expect(heard).not.toContain(secret);
    });

    test.skipIf(place !== "lan")("what is no TLS is told nothing, at either port", async () => {
      const { token } = stage.cluster;
      const words = [
        "",
        `GET /api/v1/nodes HTTP/1.1\r\nhost: ${stage.listensOn}:${API_PORT}\r\nauthorization: Bearer ${token}\r\n\r\n`,
        'CONNECT {"verbose":true}\r\nPING\r\n',
        Buffer.from("16030100310100002d0303", "hex"),
        Buffer.alloc(4_096, 0xff),
      ];
      for (const port of [api, nats]) {
        for (const said of words) {
          const heard = await talk(port, said);
          // TLS's own way of saying no is an alert of seven bytes.
          expect(heard.length).toBeLessThanOrEqual(7);
          expect(heard).not.toMatch(/HTTP|INFO|PONG/);
        }
      }
    });
  },
);
