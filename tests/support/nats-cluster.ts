/**
 * Real nats-servers on loopback that form a cluster, as the daemons of three control nodes start them: each with a system key of
 * its own, one coordinator's key for all, and the same nodes let in on each.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Bus } from "../../cluster/src/bus/bus.ts";
import { openEnvelopes } from "../../cluster/src/bus/envelopes.ts";
import { connectNats, type NatsBus, type NatsOptions } from "../../cluster/src/bus/nats.ts";
import type { BusNode } from "../../cluster/src/bus/nats-config.ts";
import type { Route } from "../../cluster/src/bus/nats-routes.ts";
import { startNatsServer, type NatsServer, type NatsServerOptions } from "../../cluster/src/bus/nats-server.ts";
import { COORDINATOR } from "../../cluster/src/bus/subjects.ts";
import { systemClock } from "../../cluster/src/system/clock.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import type { Authority } from "../../cluster/src/trust/authority.ts";
import { createNodeKeys, type NodeKeys } from "../../cluster/src/trust/keys.ts";
import { makeAuthority } from "./authority.ts";
import { natsBinary } from "./nats.ts";

const HOST = "127.0.0.1";
const SIZE = 3;
export const PASSWORD = "p".repeat(43);

export interface TestMember {
  readonly name: string;
  readonly folder: string;
  readonly route: Route;
  readonly options: NatsServerOptions;
  server: NatsServer;
}

export async function startTestCluster(): Promise<TestCluster> {
  const cluster = new TestCluster(await mkdtemp(join(tmpdir(), "ocx-three-")), await natsBinary());
  const routes = await Promise.all(Array.from({ length: SIZE }, async () => ({ host: HOST, port: await freePort() })));
  const starting = routes.map((route, i) =>
    cluster.start(
      `ocx-n${i + 1}`,
      route,
      routes.filter((other) => other !== route),
    ),
  );
  cluster.members.push(...(await Promise.all(starting)));
  return cluster;
}

export class TestCluster {
  readonly authority: Authority = makeAuthority();
  readonly coordinatorKeys = createNodeKeys();
  /** A key that nobody knows. */
  readonly stranger = createNodeKeys();
  readonly members: TestMember[] = [];
  private readonly root: string;
  private readonly binary: string;
  private readonly keys = new Map<string, NodeKeys>();
  private readonly nodes = new Set<NodeId>();
  private readonly buses: Bus[] = [];

  constructor(root: string, binary: string) {
    this.root = root;
    this.binary = binary;
  }

  /** That of `first` in front. */
  urls(first = 0): string[] {
    return [...this.members.slice(first), ...this.members.slice(0, first)].map(({ server }) => server.url);
  }

  async start(name: string, route: Route, routes: readonly Route[]): Promise<TestMember> {
    const certificate = this.authority.certifyPeer([HOST], Date.now());
    const options = {
      ...{ binary: this.binary, folder: join(this.root, name), port: 0, coordinator: this.coordinatorKeys, nodes: this.allowed() },
      ...{ log: silentLog, clock: systemClock },
      cluster: { ...{ name: "ocx", serverName: name, ...route, routes, password: PASSWORD }, certificate },
    };
    return { name, folder: options.folder, route, options, server: await startNatsServer(options) };
  }

  /** One more server, that the others do not know yet. */
  async add(name: string): Promise<void> {
    const routes = this.members.map(({ route }) => route);
    this.members.push(await this.start(name, { host: HOST, port: await freePort() }, routes));
  }

  /** Ends this member's server as its daemon would, and starts it again. */
  async restart(member: number): Promise<TestMember> {
    const its = this.members[member] as TestMember;
    await its.server.stop();
    its.server = await startNatsServer({ ...its.options, nodes: this.allowed() });
    return its;
  }

  /** Tells every member who the others are now. */
  async regroup(): Promise<void> {
    const others = (one: TestMember): Route[] => this.members.filter((other) => other !== one).map(({ route }) => route);
    await Promise.all(this.members.map((one) => one.server.regroup({ routes: others(one) })));
  }

  /** The coordinator's bus, at home on this member's server. */
  coordinatorAt(member: number): Promise<NatsBus> {
    return this.connect(this.coordinatorKeys, member, { replicas: () => SIZE });
  }

  /** A node's bus, at home on this member's server. */
  connectAs(node: string, member: number): Promise<NatsBus> {
    return this.connect(this.keysOf(node), member, { node: node as NodeId });
  }

  /** Makes a node's key; no server knows it yet. */
  register(node: string): void {
    if (!this.keys.has(node)) this.keys.set(node, createNodeKeys());
    this.nodes.add(node as NodeId);
  }

  /** Lets a node in on every server, and gives it its streams. */
  async letIn(node: string, coordinator: Bus): Promise<void> {
    this.register(node);
    await this.authorize();
    await coordinator.keepFor([...this.nodes]);
  }

  shutOut(node: string): void {
    this.nodes.delete(node as NodeId);
  }

  /** Tells these members who may connect. */
  async authorize(members: readonly TestMember[] = this.members): Promise<void> {
    await Promise.all(members.map(({ server }) => server.authorize(this.allowed())));
  }

  keysOf(node: string): NodeKeys {
    return this.keys.get(node) as NodeKeys;
  }

  async stop(): Promise<void> {
    await Promise.all(this.buses.map((bus) => bus.close()));
    await Promise.all(this.members.map(({ server }) => server.stop()));
    await rm(this.root, { recursive: true, force: true });
  }

  private allowed(): BusNode[] {
    return [...this.nodes].map((id) => ({ id, publicKey: this.keysOf(id).publicKey }));
  }

  private async connect({ seed }: NodeKeys, home: number, more: Pick<NatsOptions, "node" | "replicas">): Promise<NatsBus> {
    const keyOf = (party: string): string | undefined => {
      if (party === COORDINATOR) return this.coordinatorKeys.publicKey;
      return this.nodes.has(party as NodeId) ? this.keysOf(party).publicKey : undefined;
    };
    const envelopes = openEnvelopes({ self: more.node ?? COORDINATOR, seed, keyOf });
    const bus = await connectNats({ urls: this.urls(home), prefersFirst: true, seed, envelopes, log: silentLog, ...more });
    this.buses.push(bus);
    return bus;
  }
}

export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, HOST, resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
