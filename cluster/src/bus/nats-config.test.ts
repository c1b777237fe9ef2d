import { createUser } from "@nats-io/nkeys";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { expect, test } from "vitest";
import type { ServerCertificate } from "../trust/authority.ts";
import { natsConfig, type NatsConfig } from "./nats-config.ts";

const key = (): string => createUser().getPublicKey();
const base: NatsConfig = {
  host: "127.0.0.1",
  port: 4222,
  serverName: "ocx-1",
  storeFolder: "/var/lib/ocx/jetstream",
  logFile: "/var/lib/ocx/nats-server.log",
  coordinatorKey: key(),
  systemKey: key(),
  nodes: [
    { id: "b" as NodeId, publicKey: key() },
    { id: "a" as NodeId, publicKey: key() },
  ],
};
const withNode = (id: string, publicKey = key()): NatsConfig => ({ ...base, nodes: [{ id: id as NodeId, publicKey }] });

test("a node gets its own subjects and nothing else", () => {
  const line = natsConfig(base)
    .split("\n")
    .find((text) => text.includes(base.nodes[1]?.publicKey ?? "?"));
  expect(line?.trim()).toBe(
    `{ nkey: ${base.nodes[1]?.publicKey}, permissions { publish: { allow: ["ocx.up.a.>", "ocx.out.a.>", "ocx.blob.a.>"] }, ` +
      `subscribe: { allow: ["ocx.down.a.>", "_INBOX_a.>"] }, allow_responses: { max: 1, expires: "30s" } } }`,
  );
});

test("nothing listens but the one client port, and every user has a key", () => {
  const text = natsConfig(base);
  expect(text).toContain('listen: "127.0.0.1:4222"');
  expect(text).toContain("sync_interval: always");
  expect(text).not.toMatch(
    /\b(websocket|mqtt|leafnodes|cluster|gateway|http|https|http_port|monitor_port|no_auth_user|password|token)\s*[:{]/,
  );
  expect(text.match(/nkey:/g)).toHaveLength(4);
});

test("the order of nodes does not change the text", () => {
  expect(natsConfig({ ...base, nodes: base.nodes.toReversed() })).toBe(natsConfig(base));
});

test.each(["", "A", "a.b", "*", ">", "a b", 'a"]', "a\n", "a}", "ä", "x".repeat(33)])("the node id %j is refused", (id) => {
  expect(() => natsConfig(withNode(id))).toThrow(/is no node's id/);
});

test.each(["", "U", `${key()}, permissions {}`, `S${key().slice(1)}`, key().toLowerCase()])("the key %j is refused", (publicKey) => {
  expect(() => natsConfig(withNode("a", publicKey))).toThrow(/public key/);
});

test("one id twice, and one key for two users, are refused", () => {
  const one = { id: "a" as NodeId, publicKey: key() };
  expect(() => natsConfig({ ...base, nodes: [one, { ...one, publicKey: key() }] })).toThrow(/listed twice/);
  expect(() => natsConfig({ ...base, nodes: [one, { ...one, id: "b" as NodeId }] })).toThrow(/same key/);
  expect(() => natsConfig(withNode("a", base.coordinatorKey))).toThrow(/same key/);
});

test("paths are quoted, and control characters in them refused", () => {
  expect(natsConfig({ ...base, storeFolder: 'C:\\Users\\it"s\\js' })).toContain('store_dir: "C:\\\\Users\\\\it\\"s\\\\js"');
  expect(() => natsConfig({ ...base, storeFolder: "/tmp/a\nauthorization {" })).toThrow(/control character/);
});

test("with a certificate it speaks TLS 1.2 or newer, and says nothing before that", () => {
  expect(natsConfig(base)).not.toContain("tls");
  const text = natsConfig({ ...base, certificateFile: '/home/an"n/server.pem' });
  expect(/^tls \{\n[^}]*\n\}$/m.exec(text)?.[0].split(/\n */)).toEqual([
    "tls {",
    'cert_file: "/home/an\\"n/server.pem"',
    'key_file: "/home/an\\"n/server.pem"',
    'min_version: "1.2"',
    "handshake_first: true",
    "timeout: 3",
    "}",
  ]);
});

const cluster: NonNullable<NatsConfig["cluster"]> = {
  ...{ name: "ocx", serverName: "ocx-a", host: "100.64.0.1", port: 6222, password: "p".repeat(43) },
  routes: [
    { host: "fd7a:115c:a1e0::2", port: 6222 },
    { host: "100.64.0.3", port: 6222 },
  ],
  certificate: {} as ServerCertificate,
  files: { certificate: "/c.pem", authority: "/a.pem" },
};
const withCluster = (more: Partial<typeof cluster>): string => natsConfig({ ...base, cluster: { ...cluster, ...more } });

test("one of several asks whoever calls it for a certificate and a password, and tells clients of nobody", () => {
  const text = withCluster({});
  const block = /^cluster \{\n[^]*?\n\}$/m
    .exec(text)?.[0]
    .split("\n")
    .map((line) => line.trim());
  expect(block).toEqual([
    "cluster {",
    'name: "ocx"',
    'listen: "100.64.0.1:6222"',
    "no_advertise: true",
    "pool_size: 1",
    `authorization { user: route, password: "${cluster.password}", timeout: 3 }`,
    "tls {",
    'cert_file: "/c.pem"',
    'key_file: "/c.pem"',
    'ca_file: "/a.pem"',
    "verify: true",
    'min_version: "1.2"',
    "timeout: 3",
    "}",
    `routes: [ "tls://route:${cluster.password}@100.64.0.3:6222", "tls://route:${cluster.password}@[fd7a:115c:a1e0::2]:6222" ]`,
    "}",
  ]);
  expect(withCluster({ routes: cluster.routes.toReversed() })).toBe(text);
});

test.each<Partial<typeof cluster>>([
  { name: "o c" },
  { serverName: 'a", x: "' },
  { password: "short" },
  { password: `${"p".repeat(42)}@` },
  { host: "a b" },
  { port: 0 },
  { routes: [{ host: 'x"', port: 1 }] },
  { routes: [{ host: "100.64.0.1", port: 6222 }] },
])("what would widen the routes of a cluster is refused: %j", (more) => {
  expect(() => withCluster(more)).toThrow(expect.objectContaining({ code: "config_invalid" }));
});
