/** The limits of api.ts made small. Requests on connections that stay open; who is beyond a limit is told so, and makes room. */
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect, type AddressInfo, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makeAuthority } from "../../../tests/support/authority.ts";
import { watchConnections } from "./connections.ts";

const LIMITS = { connectionsMax: 6, ofAddressMax: 4, idleMs: 5_000 };
/** Beyond `ofAddressMax` and `connectionsMax`, each for one answer (connections.ts). */
const SURPLUS_OF_ADDRESS = 32;
const SURPLUS = 128;

let server: Server;
let sockets: Socket[];
beforeEach(async () => {
  sockets = [];
  await listen((answer) => createServer(answer));
});
afterEach(() => close());

async function listen(create: (answer: RequestListener) => Server): Promise<void> {
  server = create((incoming, outgoing) => {
    const full = surplus.refusal(incoming);
    outgoing.writeHead(full === undefined ? 200 : full.row.status).end(full?.detail);
  });
  const surplus = watchConnections(server, LIMITS);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
}

async function close(): Promise<void> {
  for (const socket of sockets) socket.destroy();
  server.close();
  await once(server, "close");
}

async function dial(localAddress = "127.0.0.1"): Promise<Socket> {
  const socket = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", localAddress });
  socket.on("error", () => socket.destroy());
  sockets.push(socket);
  await once(socket, "connect");
  return socket.setEncoding("utf8");
}

/** The answer; undefined where the connection is closed instead. */
function ask(socket: Socket): Promise<string | undefined> {
  return new Promise((resolve) => {
    socket.once("data", (text) => resolve(String(text)));
    socket.once("close", () => resolve(undefined));
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  });
}

const dialMany = (count: number, from?: string): Promise<Socket[]> => Promise.all(Array.from({ length: count }, () => dial(from)));
const isServed = async (socket: Socket): Promise<boolean> => (await ask(socket))?.startsWith("HTTP/1.1 200") ?? false;

test("an address holds so many, silent ones included; one more is told, and served when there is room", async () => {
  const [first] = (await dialMany(LIMITS.ofAddressMax)) as [Socket];
  const late = await dial();
  expect(await ask(late)).toContain("4 connections of this address are open.");
  expect(await isServed(first)).toBe(true);
  first.destroy();
  await expect.poll(() => isServed(late)).toBe(true);
});

test("a crowd of one address beyond that is cut off unheard", async () => {
  const crowd = await dialMany(LIMITS.ofAddressMax + SURPLUS_OF_ADDRESS);
  const late = await dial();
  await expect.poll(() => late.closed || late.destroyed || late.readableEnded).toBe(true);
  expect(await isServed(crowd[0] as Socket)).toBe(true);
});

const openCount = (): Promise<number> => new Promise((resolve) => server.getConnections((_, open) => resolve(open)));

// Other systems have one loopback address only.
test.skipIf(process.platform !== "linux")("what one address cannot hold is there for others, up to the limit of all", async () => {
  await dialMany(LIMITS.ofAddressMax + SURPLUS_OF_ADDRESS);
  const silent = LIMITS.ofAddressMax + SURPLUS_OF_ADDRESS;
  await expect.poll(openCount).toBe(silent);
  expect(await isServed(await dial("127.0.0.2"))).toBe(true);
});

test.skipIf(process.platform !== "linux")("who never begins with TLS counts as well, and shuts nobody out (C1)", async () => {
  await close();
  const authority = makeAuthority();
  const { chain: cert, key } = authority.certify(["127.0.0.1"], Date.now());
  await listen((answer) => createTlsServer({ cert, key }, answer));
  await dialMany(LIMITS.connectionsMax + SURPLUS + 1);
  await expect.poll(openCount).toBe(LIMITS.ofAddressMax + SURPLUS_OF_ADDRESS);
  const friend = async (localAddress: string): Promise<string | undefined> => {
    const socket = await dial(localAddress);
    return ask(connectTls({ socket, host: "127.0.0.1", ca: authority.certificate }));
  };
  expect(await friend("127.0.0.2")).toMatch(/^HTTP\/1\.1 200/);
  for (const socket of sockets) socket.destroy();
  // Those that were cut in the middle of everything have given back their places.
  await expect.poll(openCount).toBe(0);
  expect(await friend("127.0.0.1")).toMatch(/^HTTP\/1\.1 200/);
});
