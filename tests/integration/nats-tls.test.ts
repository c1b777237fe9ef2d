/** A real nats-server that speaks TLS: who is heard, who is not, and another certificate while nodes are connected. */
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Bus } from "../../cluster/src/bus/bus.ts";
import { openEnvelopes } from "../../cluster/src/bus/envelopes.ts";
import { connectNats, type NatsOptions } from "../../cluster/src/bus/nats.ts";
import { startNatsServer, type NatsServer } from "../../cluster/src/bus/nats-server.ts";
import { COORDINATOR, heartbeatFrom } from "../../cluster/src/bus/subjects.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import type { Authority } from "../../cluster/src/trust/authority.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { makeAuthority } from "../support/authority.ts";
import { natsIn } from "../support/nats.ts";
import { openTlsListener } from "../support/tls-listener.ts";

const A = "a" as NodeId;
const HOSTS = ["127.0.0.1"];
const DAY_MS = 86_400_000;

let folder: string;
let authority: Authority;
let other: Authority;
let server: NatsServer;
let port: number;
const [coordinatorKeys, keysOfA] = [createNodeKeys(), createNodeKeys()];
const buses: Bus[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "ocx-nats-"));
  [authority, other] = [makeAuthority(), makeAuthority()];
  const certificate = authority.certify(HOSTS, Date.now());
  server = await startNatsServer({
    ...(await natsIn(folder)),
    coordinator: coordinatorKeys,
    nodes: [{ id: A, publicKey: keysOfA.publicKey }],
    certificate,
  });
  port = Number(new URL(server.url).port);
});
afterAll(async () => {
  for (const bus of buses) await bus.close();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

const trustIn = ({ certificate }: Authority): NatsOptions["trust"] => ({ authorities: [certificate], file: "data/coordinator.pem" });
const keyOf = (party: string): string => (party === COORDINATOR ? coordinatorKeys : keysOfA).publicKey;
async function dial(options: Omit<NatsOptions, "envelopes" | "log">): Promise<Bus> {
  const envelopes = openEnvelopes({ self: options.node ?? COORDINATOR, seed: options.seed as Uint8Array, keyOf });
  const bus = await connectNats({ ...options, envelopes, log: silentLog });
  buses.push(bus);
  return bus;
}

const open = (more: Partial<Pick<NatsOptions, "urls" | "trust">> = {}): Promise<Bus> =>
  dial({ urls: [server.url], trust: trustIn(authority), node: A, seed: keysOfA.seed, ...more });
const openCoordinatorBus = (): Promise<Bus> => dial({ urls: [server.url], trust: trustIn(authority), seed: coordinatorKeys.seed });

/** The coordinator answers it, as soon as it listens. */
async function heardFrom(bus: Bus, n: number): Promise<void> {
  const asked = async (): Promise<unknown> => bus.request(heartbeatFrom(A), { n }, 1_000).catch(() => "the coordinator is not there yet");
  await expect.poll(asked, { interval: 10, timeout: 15_000 }).toEqual({ heard: { n } });
}

/** What a stranger is told, who speaks first or waits. */
async function toldInTheClear(words: string): Promise<string> {
  const socket = connect(port, "127.0.0.1", () => socket.write(words));
  let told = "";
  socket.on("data", (piece: Buffer) => (told += piece.toString("latin1")));
  socket.on("error", () => socket.destroy());
  await once(socket, "close");
  return told;
}

test("node and coordinator talk through it, each by its key", async () => {
  expect(server.url).toBe(`tls://127.0.0.1:${port}`);
  const [coordinator, a] = [await openCoordinatorBus(), await open()];
  coordinator.subscribe(heartbeatFrom(A), ({ body, respond }) => respond?.({ heard: body }));
  await heardFrom(a, 1);
});

test("nobody is greeted in the clear, and the file with its key is closed to others", async () => {
  const told = await toldInTheClear('CONNECT {"verbose":false}\r\nPING\r\n');
  expect(told).not.toMatch(/INFO|server_id|version/);
  const [name = "", ...more] = (await readdir(folder)).filter((one) => one.endsWith(".pem"));
  expect(more).toEqual([]);
  if (process.platform !== "win32") expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);
});

test("it speaks TLS 1.3, also 1.2, and nothing older", async () => {
  for (const maxVersion of ["TLSv1.3", "TLSv1.2"] as const) {
    const socket = connectTls({ host: "127.0.0.1", port, ca: authority.certificate, maxVersion });
    await once(socket, "secureConnect");
    expect(socket.getProtocol()).toBe(maxVersion);
    socket.destroy();
  }
  const old = connectTls({
    host: "127.0.0.1",
    port,
    ca: authority.certificate,
    minVersion: "TLSv1",
    maxVersion: "TLSv1.1",
    ciphers: "DEFAULT@SECLEVEL=0",
  });
  await expect(once(old, "secureConnect")).rejects.toThrow(/version/i);
});

test("a node says nothing to a server that its authority has not certified, or not for that address, or not for this time", async () => {
  const impostors = [
    [other.certify(HOSTS, Date.now()), "certificate_refused"],
    [authority.certify(["nas"], Date.now()), "certificate_refused"],
    [authority.certify(HOSTS, Date.now() - 100 * DAY_MS), "clock_apart"],
  ] as const;
  for (const [{ chain, key }, code] of impostors) {
    const listener = await openTlsListener({ cert: chain, key });
    await expect(open({ urls: [`tls://127.0.0.1:${listener.port}`] })).rejects.toMatchObject({ code });
    expect(await listener.heard()).toBe("");
    await listener.close();
  }
  await expect(open({ trust: trustIn(other) })).rejects.toMatchObject({
    code: "certificate_refused",
    detail: expect.stringContaining("the authority in data/coordinator.pem has not certified") as string,
  });
  await expect(open({ trust: undefined })).rejects.toMatchObject({
    code: "certificate_refused",
    detail: expect.stringContaining("caFile") as string,
  });
});

test("another certificate is shown from the next connection on, the former file goes, and who is connected stays", async () => {
  const a = await open();
  const states: boolean[] = [];
  a.onStatus((connected) => states.push(connected));
  const before = await readdir(folder);
  const next = authority.certify(HOSTS, Date.now());
  await server.renew(next);
  const socket = connectTls({ host: "127.0.0.1", port, ca: authority.certificate });
  await once(socket, "secureConnect");
  expect(socket.getPeerX509Certificate()?.raw).toEqual(new X509Certificate(next.chain).raw);
  socket.destroy();
  expect(states).toEqual([]);
  expect(await a.request(heartbeatFrom(A), { n: 2 }, 5_000)).toEqual({ heard: { n: 2 } });
  const after = (await readdir(folder)).filter((name) => name.endsWith(".pem"));
  expect(after).toHaveLength(1);
  expect(before).not.toContain(after[0]);
  expect(await readFile(join(folder, "nats.conf"), "utf8")).toContain(after[0]);
});

test("one that nats-server refuses changes nothing", async () => {
  const [one, two] = [authority.certify(HOSTS, Date.now()), authority.certify(HOSTS, Date.now())];
  const before = await readFile(join(folder, "nats.conf"), "utf8");
  await expect(server.renew({ ...one, key: two.key })).rejects.toMatchObject({ code: "internal" });
  expect(await readFile(join(folder, "nats.conf"), "utf8")).toBe(before);
  await server.authorize([{ id: A, publicKey: keysOfA.publicKey }]);
  expect(await (await open()).request(heartbeatFrom(A), { n: 3 }, 5_000)).toEqual({ heard: { n: 3 } });
});

test("it comes back with its certificate after it was killed", async () => {
  const pid = server.pid as number;
  process.kill(pid, "SIGKILL");
  await expect.poll(() => server.pid !== undefined && server.pid !== pid, { interval: 10, timeout: 15_000 }).toBe(true);
  await heardFrom(await open(), 4);
  expect(await toldInTheClear("PING\r\n")).not.toMatch(/INFO/);
});
