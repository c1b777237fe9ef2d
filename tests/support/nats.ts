/**
 * A real nats-server for one test file: free port, temporary folder, a coordinator's bus, and a bus for each node asked
 * for. The program comes from the same resolver as the product's, so the first run on a machine may fetch it.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Bus } from "../../cluster/src/bus/bus.ts";
import { plainEnvelopes } from "../../cluster/src/bus/envelope-door.ts";
import { openEnvelopes } from "../../cluster/src/bus/envelopes.ts";
import { connectNats } from "../../cluster/src/bus/nats.ts";
import { startNatsServer, type NatsServer, type NatsServerOptions } from "../../cluster/src/bus/nats-server.ts";
import type { Rations } from "../../cluster/src/bus/rations.ts";
import { COORDINATOR } from "../../cluster/src/bus/subjects.ts";
import { resolveBinary } from "../../cluster/src/system/binaries.ts";
import { systemClock } from "../../cluster/src/system/clock.ts";
import { cacheFolder } from "../../cluster/src/system/folders.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { createNodeKeys, type NodeKeys } from "../../cluster/src/trust/keys.ts";

export interface TestNats {
  readonly server: NatsServer;
  readonly folder: string;
  readonly coordinatorKeys: NodeKeys;
  readonly coordinatorBus: Bus;
  /** Lets the node in, with a key of its own unless one is given, and connects as it. */
  connectAs(node: string, keys?: NodeKeys): Promise<Bus>;
  /** Takes the node's right to connect away again. */
  revoke(node: string): Promise<void>;
  stop(): Promise<void>;
}

export async function natsBinary(): Promise<string> {
  return (await resolveBinary("nats-server", { cacheFolder: cacheFolder(process.env), log: silentLog })).path;
}

/** A server in this folder, on a free port, that nobody but the coordinator may speak to. */
export async function natsIn(folder: string): Promise<NatsServerOptions> {
  const binary = await natsBinary();
  return { binary, folder, port: 0, coordinator: createNodeKeys(), nodes: [], log: silentLog, clock: systemClock };
}

/** `plain`: nothing is sealed, so that what nats-server alone keeps away shows. `rations`: of what the coordinator hears. */
export async function startTestNats({ plain = false, rations }: { plain?: boolean; rations?: Rations } = {}): Promise<TestNats> {
  const folder = await mkdtemp(join(tmpdir(), "ocx-nats-"));
  const coordinatorKeys = createNodeKeys();
  const server = await startNatsServer({ ...(await natsIn(folder)), coordinator: coordinatorKeys });
  const nodes = new Map<NodeId, string>();
  const keyOf = (party: string): string | undefined => (party === COORDINATOR ? coordinatorKeys.publicKey : nodes.get(party as NodeId));
  const connect = (seed: Uint8Array, node?: NodeId): Promise<Bus> => {
    const envelopes = plain ? plainEnvelopes() : openEnvelopes({ self: node ?? COORDINATOR, seed, keyOf });
    return connectNats({
      urls: [server.url],
      seed,
      envelopes,
      log: silentLog,
      ...(node === undefined ? rations && { rations } : { node }),
    });
  };
  const coordinatorBus = await connect(coordinatorKeys.seed);
  const buses = [coordinatorBus];
  const authorize = async (): Promise<void> => {
    await server.authorize([...nodes].map(([id, publicKey]) => ({ id, publicKey })));
    await coordinatorBus.keepFor([...nodes.keys()]);
  };
  return {
    server,
    folder,
    coordinatorKeys,
    coordinatorBus,
    async connectAs(node, keys = createNodeKeys()) {
      nodes.set(node as NodeId, keys.publicKey);
      await authorize();
      const bus = await connect(keys.seed, node as NodeId);
      buses.push(bus);
      return bus;
    },
    async revoke(node) {
      nodes.delete(node as NodeId);
      await authorize();
    },
    async stop() {
      await Promise.all(buses.map((bus) => bus.close()));
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
