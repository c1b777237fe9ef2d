/**
 * What a page in somebody's browser could send, on every route that there is, with the administrator's token in hand: so it is
 * nothing but the gate that refuses. Written on a real socket, because no HTTP client sends all of it. The routes are those of
 * the OpenAPI document; a route that is mounted and not named there fails the first test.
 */
import { OPERATIONS } from "@openclaw-cluster/contract/operations";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { rawAsk, type RawAnswer } from "../../../tests/support/raw-request.ts";
import { silentLog } from "../system/log.ts";
import { systemClock } from "../system/clock.ts";
import { openBodies } from "./body.ts";
import { openGate } from "./gate.ts";
import { mountRoutes } from "./routes.ts";
import { openStreams } from "./stream.ts";

interface Route {
  readonly method: string;
  readonly path: string;
}

const PLAIN: readonly Route[] = ["/healthz", "/readyz", "/metrics", "/openapi.json"].map((path) => ({ method: "GET", path }));
/** Nothing is there; a page does not get to know. */
const NOWHERE: readonly Route[] = [
  { method: "GET", path: "/" },
  { method: "GET", path: "/ws" },
  { method: "POST", path: "/api/v1/nothing" },
];
/** An id that could be one, for each path. */
const IDS = { tasks: "t1", nodes: "none1", tokens: "abcdefgh" } as const;
const BODY = "{}";

let api: TestApi;
let host: string;
let told: readonly Route[];
let routes: readonly Route[];
beforeAll(async () => {
  api = await startApi();
  host = `127.0.0.1:${api.port}`;
  const { paths } = (await api.ask({ path: "/openapi.json" })).json as { paths: Record<string, Record<string, unknown>> };
  told = Object.entries(paths).flatMap(([path, verbs]) => Object.keys(verbs).map((verb) => ({ method: verb.toUpperCase(), path })));
  routes = [...told, ...PLAIN, ...NOWHERE];
  api.coordinator.lookups = 0;
});
afterAll(() => api.close());

const filled = (path: string): string =>
  path.replace(/\{skill\}/, "summarize").replace(/\/(tasks|nodes|tokens)\/\{id\}/, (_, kind: keyof typeof IDS) => `/${kind}/${IDS[kind]}`);

interface Told {
  /** Instead of the good one. */
  readonly hosts?: readonly string[];
  readonly headers?: readonly string[];
  readonly target?: string;
  readonly version?: string;
  /** undefined: JSON where the method takes a body. */
  readonly type?: string | null;
  readonly token?: boolean;
}

function ask(
  { method, path }: Route,
  { hosts = [host], headers = [], target, version = "1.1", type, token = true }: Told = {},
): Promise<RawAnswer> {
  const hasBody = method !== "GET" && method !== "OPTIONS";
  const contentType = type === undefined ? "application/json" : type;
  const lines = [
    `${method} ${target ?? filled(path)} HTTP/${version}`,
    ...hosts.map((name) => `Host: ${name}`),
    ...(token ? [`Authorization: Bearer ${api.tokens.admin}`] : []),
    ...(hasBody ? [`Content-Length: ${BODY.length}`] : []),
    ...(hasBody && contentType !== null ? [`Content-Type: ${contentType}`] : []),
    ...headers,
  ];
  return rawAsk(api.dial(), lines, hasBody ? BODY : "");
}

/** On every route; nothing of it may get as far as a token being looked up, or allow a page to read the answer. */
async function expectRefused(what: Told, status: number, on: readonly Route[] = routes): Promise<void> {
  const before = api.coordinator.lookups;
  for (const route of on) {
    const answer = await ask(route, what);
    expect({ ...route, status: answer.status }).toEqual({ ...route, status });
    expect(answer.head).not.toContain("access-control-");
  }
  expect(api.coordinator.lookups).toBe(before);
}

test("the document names every route that is mounted", () => {
  const { coordinator } = api;
  const gate = openGate({ coordinator, hosts: new Set(), clock: systemClock, log: silentLog });
  const app = mountRoutes({
    coordinator,
    gate,
    bodies: openBodies(),
    streams: openStreams(systemClock),
    clock: systemClock,
    log: silentLog,
  });
  const mounted = app.routes.map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
  expect(new Set(mounted)).toEqual(new Set([...told, ...PLAIN].map(({ method, path }) => `${method} ${path}`)));
  expect(told).toHaveLength(Object.keys(OPERATIONS).length);
});

describe("let in, so that the refusals below are for what they say", () => {
  test.each([
    ["by address", (): Told => ({})],
    ["by name", (): Told => ({ hosts: [`localhost:${api.port}`] })],
    ["by a name in upper case", (): Told => ({ hosts: [`LOCALHOST:${api.port}`] })],
    ["from its own origin", (): Told => ({ headers: [`Origin: http://${host}`, "Sec-Fetch-Site: same-origin"] })],
    ["as a person who types an address", (): Told => ({ headers: ["Sec-Fetch-Site: none"] })],
  ])("%s", async (_, what) => {
    for (const route of [...told, ...PLAIN]) {
      const { status } = await ask(route, what());
      expect({ ...route, past: [421, 403, 401, 415].includes(status) || status >= 500 }).toEqual({ ...route, past: false });
    }
  });
});

describe("Origin", () => {
  test.each([
    "http://evil.example",
    "null",
    "",
    "file://",
    "chrome-extension://abcdefghijklmnop",
    "http://localhost:PORT",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "http://127.0.0.1:PORT.evil.example",
    "http://127.0.0.1:PORT/",
    "HTTP://127.0.0.1:PORT",
    "http://user@127.0.0.1:PORT",
  ])("%j is refused", (origin) => expectRefused({ headers: [`Origin: ${origin.replace("PORT", String(api.port))}`] }, 403));

  test("a second one beside our own is refused", () =>
    expectRefused({ headers: [`Origin: http://${host}`, "Origin: http://evil.example"] }, 403));
});

describe("Sec-Fetch-Site", () => {
  test.each(["cross-site", "same-site", "", "Same-Origin", "none, cross-site"])("%j is refused", (site) =>
    expectRefused({ headers: [`Sec-Fetch-Site: ${site}`] }, 403),
  );
});

describe("a name that was rebound, or is nobody's", () => {
  test.each([
    "evil.example",
    "evil.example:PORT",
    "127.0.0.1.evil.example:PORT",
    "localhost.evil.example:PORT",
    "127.0.0.1.:PORT",
    "localhost.:PORT",
    "127.0.0.1",
    "localhost",
    "127.0.0.1:1",
    "127.0.0.1:0PORT",
    "0.0.0.0:PORT",
    "2130706433:PORT",
    "127.1:PORT",
  ])("Host: %s is refused", (name) => expectRefused({ hosts: [name.replace("PORT", String(api.port))] }, 421));

  // The adapter has no address to make of it, and says so.
  test.each(["127.0.0.1:PORT@evil.example", "evil.example/127.0.0.1:PORT", "127.0.0.1:PORT, evil.example", "[::ffff:127.0.0.1]:PORT"])(
    "Host: %s is no request",
    (name) => expectRefused({ hosts: [name.replace("PORT", String(api.port))] }, 400),
  );

  test("two Host headers are refused, whichever comes first", async () => {
    for (const hosts of [
      [host, "evil.example"],
      [host, host],
    ])
      await expectRefused({ hosts }, 421);
    await expectRefused({ hosts: ["evil.example", host] }, 421);
  });

  test("none at all is refused", async () => {
    await expectRefused({ hosts: [] }, 400);
    await expectRefused({ hosts: [""] }, 400);
  });

  test("a target with a name of its own is refused, whatever the name", async () => {
    for (const route of routes) {
      for (const name of ["evil.example", host]) {
        const { status } = await ask(route, { target: `http://${name}${filled(route.path)}` });
        expect({ ...route, name, status }).toEqual({ ...route, name, status: 421 });
      }
    }
  });
});

describe("an upgrade", () => {
  const HANDSHAKE = ["Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];

  test.each(["websocket", "WebSocket", "h2c, websocket"])("to %s is refused", async (protocol) => {
    const headers = [...HANDSHAKE, `Upgrade: ${protocol}`];
    await expectRefused({ headers }, 400);
    await expectRefused({ headers, token: false }, 400);
  });

  test("from another origin is refused for that", () =>
    expectRefused({ headers: [...HANDSHAKE, "Upgrade: websocket", "Origin: http://evil.example"] }, 403));

  test("leaves the connection as it is: the next request on it is served", async () => {
    const socket = api.dial();
    socket.write(["GET /healthz HTTP/1.1", `Host: ${host}`, ...HANDSHAKE, "Upgrade: websocket", "", ""].join("\r\n"));
    await new Promise((resolve) => socket.once("data", resolve));
    expect(await rawAsk(socket, ["GET /healthz HTTP/1.1", `Host: ${host}`])).toMatchObject({ status: 200, body: '{"status":"ok"}' });
  });
});

describe("what a form could send without asking", () => {
  test.each(["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", "application/jsonx", null])(
    "a body that is %s is refused, also where none is wanted",
    async (type) => {
      const { coordinator } = api;
      const done = (): unknown => [coordinator.requests.length, coordinator.removals.length, coordinator.patches.length];
      const before = done();
      for (const route of told.filter(({ method }) => method !== "GET")) {
        const { status } = await ask(route, { type });
        expect({ ...route, status }).toEqual({ ...route, status: 415 });
      }
      expect(done()).toEqual(before);
    },
  );
});

describe("a preflight", () => {
  const ASKS = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization"];
  const asked = (): Route[] => [...new Set(routes.map(({ path }) => path))].map((path) => ({ method: "OPTIONS", path }));

  test("of another origin is refused, and of our own too: nothing is allowed by one", async () => {
    await expectRefused({ headers: [...ASKS, "Origin: http://evil.example"], token: false }, 403, asked());
    await expectRefused({ headers: [...ASKS, `Origin: http://${host}`], token: false }, 401, asked());
  });
});
