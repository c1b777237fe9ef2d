/** The API over TLS, on real sockets of the loopback: who gets through, who gets nothing, and another certificate while it runs. */
import { once } from "node:events";
import { createServer as createTlsServer, get } from "node:https";
import { connect, type AddressInfo } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { makeAuthority } from "../../../tests/support/authority.ts";
import { good, routerOf } from "../../../tests/support/fake-lender.ts";
import { openTlsListener } from "../../../tests/support/tls-listener.ts";
import type { Authority } from "../trust/authority.ts";
import { watchConnections } from "./connections.ts";

const DAY_MS = 86_400_000;
const HOSTS = ["127.0.0.1", "studio"];

let authority: Authority;
let other: Authority;
let trust: Trust;
let api: TestApi;
beforeAll(async () => {
  [authority, other] = [makeAuthority(), makeAuthority()];
  trust = { authorities: [authority.certificate], file: "/home/ann/coordinator.pem" };
  api = await startApi({ certificate: authority.certify(HOSTS, Date.now()) });
});
afterAll(() => api.close());

const clients: Client[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
});
function client(url: string, believed: Trust | undefined): Client {
  const opened = openClient({ url, token: api.tokens.admin, transport: nodeTransport(believed) });
  clients.push(opened);
  return opened;
}

async function handshake(options: { minVersion?: "TLSv1"; maxVersion?: "TLSv1.1" | "TLSv1.2"; ciphers?: string } = {}): Promise<TLSSocket> {
  const socket = connectTls({ host: "127.0.0.1", port: api.port, ca: authority.certificate, ...options });
  await once(socket, "secureConnect");
  return socket;
}

test("it says https, and a client that believes its authority calls, streams and keeps its connection", async () => {
  expect(api.url).toBe(`https://127.0.0.1:${api.port}`);
  const plain = client(api.url, trust);
  expect(await plain.health()).toMatchObject({ status: "ok" });
  const events = plain.events()[Symbol.asyncIterator]();
  const next = events.next();
  await expect.poll(() => api.coordinator.listening, { interval: 1 }).toBe(1);
  const [task] = await plain.submitMany([{ kind: "echo", input: {} }]);
  api.coordinator.finish([task!.id]);
  expect((await next).value).toMatchObject({ type: "task" });
});

test("a chat goes over the same connection: nobody's word and no token reaches whoever its authority has not certified", async () => {
  const { router } = routerOf(good);
  api.takeRole({ coordinator: api.coordinator, models: { router, attach: (_node, _way, socket) => void socket.destroy() } });
  const said = async (believed: Trust): Promise<number> => {
    let pieces = 0;
    for await (const _piece of client(api.url, believed).chat({ model: "m", messages: [{ role: "user", content: "hi" }] })) pieces += 1;
    return pieces;
  };
  expect(await said(trust)).toBeGreaterThan(0);
  await expect(said({ authorities: [other.certificate], file: "/home/ann/other.pem" })).rejects.toMatchObject({
    code: "certificate_refused",
  });
});

test("it speaks TLS 1.3, also 1.2, and nothing older", async () => {
  const versions: (string | null)[] = [];
  for (const options of [{}, { maxVersion: "TLSv1.2" as const }]) {
    const socket = await handshake(options);
    versions.push(socket.getProtocol());
    socket.destroy();
  }
  expect(versions).toEqual(["TLSv1.3", "TLSv1.2"]);
  // Without that level OpenSSL would not even ask for it.
  const old = handshake({ minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" });
  await expect(old).rejects.toMatchObject({ code: expect.stringMatching(/PROTOCOL_VERSION/) as string });
});

test("what is no TLS is cut off and told nothing (H3)", async () => {
  for (const words of ["GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "CONNECT {}\r\nPING\r\n", "\0".repeat(64)]) {
    const socket = connect(api.port, "127.0.0.1", () => socket.write(words));
    let heard = "";
    socket.on("data", (piece: Buffer) => (heard += piece.toString("latin1")));
    socket.on("error", () => socket.destroy());
    await once(socket, "close");
    // TLS's own way of saying no is an alert of seven bytes.
    expect(heard.length).toBeLessThanOrEqual(7);
    expect(heard).not.toMatch(/HTTP|400|openclaw/);
  }
});

test("a client sends nothing to a server that another authority has certified, nor to one that is not who it should be", async () => {
  const own = other.certify(HOSTS, Date.now());
  const impostors = [
    own,
    // The right authority's certificate is no secret: whoever shows it too has not been certified by it.
    { ...own, chain: own.chain.slice(0, own.chain.indexOf("-----BEGIN", 1)) + authority.certificate },
    authority.certify(["nas"], Date.now()),
  ];
  for (const { chain, key } of impostors) {
    const listener = await openTlsListener({ cert: chain, key });
    const asked = client(`https://127.0.0.1:${listener.port}`, trust).health();
    await expect(asked).rejects.toMatchObject({ code: "certificate_refused" });
    expect([listener.connections, await listener.heard()]).toEqual([1, ""]);
    await listener.close();
  }
});

test("what is refused says which file, which names, or whose clock", async () => {
  const foreign = { authorities: [other.certificate], file: "/home/ann/other.pem" };
  await expect(client(api.url, foreign).health()).rejects.toMatchObject({
    code: "certificate_refused",
    detail: expect.stringContaining("the authority in /home/ann/other.pem has not certified https://127.0.0.1") as string,
  });
  await expect(client(api.url, undefined).health()).rejects.toMatchObject({
    code: "certificate_refused",
    detail: expect.stringContaining("--ca") as string,
  });
  await expect(client(api.url.replace("127.0.0.1", "localhost"), trust).health()).rejects.toMatchObject({
    code: "certificate_refused",
    detail: expect.stringMatching(/is not for that address but for .*127\.0\.0\.1.*api\.allowedHosts/) as string,
  });
  for (const [at, said] of [
    [Date.now() - 100 * DAY_MS, "has run out"],
    [Date.now() + 100 * DAY_MS, "is not valid yet"],
  ] as const) {
    const { chain, key } = authority.certify(HOSTS, at);
    const listener = await openTlsListener({ cert: chain, key });
    const asked = client(`https://127.0.0.1:${listener.port}`, trust).health();
    await expect(asked).rejects.toMatchObject({ code: "clock_apart", detail: expect.stringContaining(said) as string });
    expect(await listener.heard()).toBe("");
    await listener.close();
  }
});

test("another certificate is shown from the next connection on, and who is connected stays", async () => {
  const before = await handshake();
  const shown = before.getPeerX509Certificate()?.serialNumber;
  api.renew(authority.certify(HOSTS, Date.now()));
  const after = await handshake();
  expect(after.getPeerX509Certificate()?.serialNumber).not.toBe(shown);
  expect(before.destroyed).toBe(false);
  before.write("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:" + api.port + "\r\n\r\n");
  expect(String((await once(before, "data"))[0])).toMatch(/^HTTP\/1\.1 200/);
  for (const socket of [before, after]) socket.destroy();
});

test("connections beyond the limit are told so over TLS too", async () => {
  const { chain: cert, key } = authority.certify(HOSTS, Date.now());
  const server = createTlsServer({ cert, key }, (incoming, outgoing) => void outgoing.end(surplus.refusal(incoming)?.code ?? "served"));
  const surplus = watchConnections(server, { connectionsMax: 1, ofAddressMax: 1, idleMs: 1_000 });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const held = connectTls({ host: "127.0.0.1", port, ca: authority.certificate });
  await once(held, "secureConnect");
  const answered = new Promise<string>((resolve, reject) => {
    const asked = get({ host: "127.0.0.1", port, ca: authority.certificate, agent: false }, (answer) =>
      answer.on("data", (piece) => resolve(String(piece))),
    );
    asked.on("error", reject);
  });
  expect(await answered).toBe("overloaded");
  held.destroy();
  await new Promise((resolve) => server.close(resolve));
});
