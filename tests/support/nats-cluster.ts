/**
 * Three real nats-servers on loopback that form a cluster, as the daemons of three control nodes start them: each with a system
 * key of its own, one coordinator's key for all, and the same nodes let in on each.
 */
import { createServer, type AddressInfo } from "node:net";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Bus } from "../../cluster/src/bus/bus.ts";
import { openEnvelopes } from "../../cluster/src/bus/envelopes.ts";
import { connectNats, type NatsBus } from "../../cluster/src/bus/nats.ts";
import type { NatsCluster, Route } from "../../cluster/src/bus/nats-routes.ts";
import { startNatsServer, type NatsServer, type NatsServerOptions } from "../../cluster/src/bus/nats-server.ts";
import { COORDINATOR } from "../../cluster/src/bus/subjects.ts";
import { systemClock } from "../../cluster/src/system/clock.ts";
import { silentLog, type Log } from "../../cluster/src/system/log.ts";
import { createNodeKeys, type NodeKeys } from "../../cluster/src/trust/keys.ts";
import { makeAuthority } from "./authority.ts";
import { natsBinary } from "./nats.ts";

const HOST = "127.0.0.1";
export const PASSWORD = "p".repeat(43);

export interface TestMember {
  readonly name: string;
  readonly folder: string;
  readonly route: Route;
  readonly options: NatsServerOptions;
  server: NatsServer;
}

export interface TestCluster {
  readonly authority: ReturnType<typeof makeAuthority>;
  readonly members: TestMember[];
  readonly coordinatorKeys: NodeKeys;
  /** Urls, that of `first` in front. */
  urls(first?: number): string[];
  /** One more server, that the others do not know yet. */
  add(name: string, log?: Log): Promise<TestMember>;
  /** The coordinator's bus, at home on this member's server. */
  coordinatorAt(member: number, log?: Log): Promise<NatsBus>;
  /** Lets a node in on every server, and gives it its streams. */
  letIn(node: string, bus: Bus): Promise<void>;
  keysOf(node: string): NodeKeys;
  /** On these members only. */
  authorize(members?: readonly TestMember[]): Promise<void>;
  /** Makes its key; no server knows it yet. */
  register(node: string): void;
  shutOut(node: string): void;
  /** Ends this member's server as its daemon would, and starts it again. */
  restart(member: number): Promise<TestMember>;
  /** Tells every member who the others are now. */
  regroup(): Promise<void>;
  /** A key that nobody knows. */
  readonly stranger: NodeKeys;
  /** A node's bus, that begins at this member's server. */
  connectAs(node: string, first: number): Promise<NatsBus>;
  stop(): Promise<void>;
}

export async function startTestCluster({
  size = 3,
  replicas = 3,
  log = silentLog,
}: { size?: number; replicas?: number; log?: Log } = {}): Promise<TestCluster> {
  const root = await mkdtemp(join(tmpdir(), "ocx-three-"));
  const binary = await natsBinary();
  const authority = makeAuthority();
  const coordinatorKeys = createNodeKeys();
  const keys = new Map<string, NodeKeys>();
  const nodes = new Set<NodeId>();
  const members: TestMember[] = [];
  const buses: Bus[] = [];
  const names = Array.from({ length: size }, (_, i) => `ocx-n${i + 1}`);
  const places = await Promise.all(names.map(() => freePort()));
  const certificate = () => authority.certifyPeer([HOST], Date.now());
  const allowed = () => [...nodes].map((id) => ({ id, publicKey: (keys.get(id) as NodeKeys).publicKey }));
  const start = async (name: string, port: number, routes: readonly Route[], its: Log): Promise<TestMember> => {
    const cluster: NatsCluster = {
      ...{ name: "ocx", serverName: name, host: HOST, port, routes, password: PASSWORD },
      certificate: certificate(),
    };
    const folder = join(root, name);
    const options = {
      ...{ binary, folder, port: 0, coordinator: coordinatorKeys, nodes: allowed(), cluster },
      log: its,
      clock: systemClock,
    };
    return { name, folder, route: { host: HOST, port }, options, server: await startNatsServer(options) };
  };
  const connect = async (own: NodeKeys, first: number, more: Partial<Parameters<typeof connectNats>[0]>): Promise<NatsBus> => {
    const keyOf = (party: string): string | undefined =>
      party === COORDINATOR ? coordinatorKeys.publicKey : nodes.has(party as NodeId) ? keys.get(party)?.publicKey : undefined;
    const envelopes = openEnvelopes({ self: more.node ?? COORDINATOR, seed: own.seed, keyOf });
    const bus = await connectNats({ urls: cluster.urls(first), seed: own.seed, envelopes, log, ...more });
    buses.push(bus);
    return bus;
  };
  const cluster: TestCluster = {
    authority,
    members,
    coordinatorKeys,
    urls: (first = 0) => [...members.slice(first), ...members.slice(0, first)].map(({ server }) => server.url),
    async add(name, its = log) {
      const member = await start(
        name,
        await freePort(),
        members.map(({ route }) => route),
        its,
      );
      members.push(member);
      return member;
    },
    coordinatorAt: (member, its = log) => connect(coordinatorKeys, member, { prefersFirst: true, replicas: () => replicas, log: its }),
    stranger: createNodeKeys(),
    register(node) {
      if (!keys.has(node)) keys.set(node, createNodeKeys());
      nodes.add(node as NodeId);
    },
    async regroup() {
      await Promise.all(
        members.map((one) => one.server.regroup({ routes: members.filter((other) => other !== one).map(({ route }) => route) })),
      );
    },
    async restart(member) {
      const its = members[member] as TestMember;
      await its.server.stop();
      its.server = await startNatsServer({ ...its.options, nodes: allowed() });
      return its;
    },
    async letIn(node, bus) {
      cluster.register(node);
      await cluster.authorize();
      await bus.keepFor([...nodes]);
    },
    keysOf: (node) => keys.get(node) as NodeKeys,
    async authorize(some = members) {
      await Promise.all(some.map(({ server }) => server.authorize(allowed())));
    },
    shutOut: (node) => void nodes.delete(node as NodeId),
    connectAs: (node, first) => connect(keys.get(node) as NodeKeys, first, { node: node as NodeId, prefersFirst: true }),
    async stop() {
      await Promise.all(buses.map((bus) => bus.close()));
      await Promise.all(members.map(({ server }) => server.stop()));
      await rm(root, { recursive: true, force: true });
    },
  };
  const others = (own: number): Route[] => places.filter((port) => port !== own).map((port) => ({ host: HOST, port }));
  members.push(...(await Promise.all(names.map((name, i) => start(name, places[i] as number, others(places[i] as number), log)))));
  return cluster;
}

export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, HOST, resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
