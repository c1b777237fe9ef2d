/**
 * The nats-server of a control node, which can become one of several, or alone again, while the daemon goes on: its program is
 * stopped and started in the same folder, at the same port. Who is connected loses the connection, and comes back.
 *
 * C1. One change or call after the other. What is asked during a change waits, and is asked of the server that the change leaves behind.
 * C2. Who may connect, the certificate and who listens outlive a change.
 * C3. A change that fails leaves the server as it was before. Where that cannot be started again either, it is tried for as long as
 *     nobody asks for anything else; what was asked meanwhile is refused as bus_unreachable, and holds from its start on.
 * C4. What can be found wrong without stopping anything is found before that: an address, a name, a port that another program has.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { choosePort } from "../system/free-port.ts";
import type { Timer } from "../system/clock.ts";
import type { ServerCertificate } from "../trust/authority.ts";
import type { Subscription } from "./bus.ts";
import type { BusNode } from "./nats-config.ts";
import { memberName } from "./nats-folder.ts";
import { checkCluster, type NatsCluster } from "./nats-routes.ts";
import { startNatsServer, type NatsServer, type NatsServerOptions } from "./nats-server.ts";

/** How a server is one of several; its name in the cluster is its folder's (nats-folder.ts). */
export type NatsMembership = Omit<NatsCluster, "serverName">;

export interface ChangingServerOptions extends Omit<NatsServerOptions, "cluster"> {
  readonly cluster?: NatsMembership;
}

export interface ChangingServer extends NatsServer {
  /** Its name as one of several, also before it becomes that. Another one after each time that it was alone. */
  readonly serverName: string;
  /** One of several, or alone. Where only the routes or their certificate differ, nobody loses the connection. Rejects with a ClusterError (C3). */
  become(membership: NatsMembership | undefined): Promise<void>;
}

/** After a change that failed, and a way back that failed as well. */
const AGAIN_MS = 5_000;

export async function openChangingServer(options: ChangingServerOptions): Promise<ChangingServer> {
  const { cluster, ...rest } = options;
  const server = new Changing(rest, await memberName(options.folder));
  await server.open(cluster);
  return server;
}

/** What a server is started with, beside what stays the same. */
interface Wanted {
  readonly nodes: readonly BusNode[];
  readonly certificate: ServerCertificate | undefined;
  readonly membership: NatsMembership | undefined;
}

class Changing implements ChangingServer {
  readonly #options: Omit<ChangingServerOptions, "cluster">;
  readonly #gone = new Set<(node: NodeId) => void>();
  readonly #trespasses = new Set<(node: NodeId, what: string) => void>();
  readonly #guesses = new Set<(address: string, key: string | undefined) => void>();
  #serverName: string;
  #wanted: Wanted;
  /** Absent during a change, and where none could be started (C3). */
  #server: NatsServer | undefined;
  #url = "";
  #version = "";
  #last: Promise<void> = Promise.resolve();
  #again: Timer | undefined;
  #stopped = false;

  constructor(options: Omit<ChangingServerOptions, "cluster">, serverName: string) {
    this.#options = options;
    this.#serverName = serverName;
    this.#wanted = { nodes: options.nodes, certificate: options.certificate, membership: undefined };
  }

  async open(membership: NatsMembership | undefined): Promise<void> {
    this.#wanted = { ...this.#wanted, membership };
    await this.#start();
  }

  get url(): string {
    return this.#url;
  }

  get version(): string {
    return this.#version;
  }

  get serverName(): string {
    return this.#serverName;
  }

  get present(): NatsServer["present"] {
    const { membership, ...rest } = this.#wanted;
    return { ...rest, cluster: membership && { ...membership, serverName: this.#serverName } };
  }

  get pid(): number | undefined {
    return this.#server?.pid;
  }

  become(membership: NatsMembership | undefined): Promise<void> {
    return this.#inTurn(() => this.#become(membership));
  }

  authorize(nodes: readonly BusNode[]): Promise<void> {
    return this.#inTurn(() => this.#change({ nodes: [...nodes] }, (server) => server.authorize(nodes)));
  }

  renew(certificate: ServerCertificate): Promise<void> {
    return this.#inTurn(() => this.#change({ certificate }, (server) => server.renew(certificate)));
  }

  regroup(its: Partial<Pick<NatsCluster, "routes" | "certificate">>): Promise<void> {
    return this.#inTurn(() => this.#regroup(its));
  }

  removePeer(serverName: string): Promise<void> {
    return this.#inTurn(() => this.#running().removePeer(serverName));
  }

  servers(): ReturnType<NatsServer["servers"]> {
    // During a change it cannot say.
    return this.#server?.servers() ?? Promise.resolve({ mode: "alone", servers: [] });
  }

  onDisconnect(listener: (node: NodeId) => void): Subscription {
    return listen(this.#gone, listener);
  }

  onTrespass(listener: (node: NodeId, what: string) => void): Subscription {
    return listen(this.#trespasses, listener);
  }

  onGuess(listener: (address: string, key: string | undefined) => void): Subscription {
    return listen(this.#guesses, listener);
  }

  isConnected(node: NodeId): boolean {
    return this.#server?.isConnected(node) === true;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#again?.cancel();
    await this.#last;
    const server = this.#server;
    this.#server = undefined;
    await server?.stop();
  }

  /** C1. */
  #inTurn(step: () => Promise<void>): Promise<void> {
    const done = this.#last.then(() => {
      if (this.#stopped) throw new ClusterError("unavailable", "this nats-server is being stopped");
      return step();
    });
    // Who waits for this one hears of its failure, the next one need not.
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #become(membership: NatsMembership | undefined): Promise<void> {
    const before = this.#wanted;
    if (this.#server !== undefined && isSameProgram(before.membership, membership)) {
      if (membership === undefined || before.membership === undefined) return;
      return this.#regroup({ routes: membership.routes, certificate: membership.certificate });
    }
    await this.#check(membership);
    this.#again?.cancel();
    await this.#halt();
    this.#wanted = { ...before, membership };
    try {
      await this.#start();
    } catch (error) {
      this.#wanted = before;
      await this.#goBack();
      const what = membership === undefined ? "alone" : "one of several";
      const present = this.#server === undefined ? "it does not run, which is tried again" : "it goes on as it was";
      throw new ClusterError(codeOf(error), `nats-server could not become ${what}; ${present}`, { cause: error });
    }
  }

  /** C4. */
  async #check(membership: NatsMembership | undefined): Promise<void> {
    if (membership === undefined) return;
    checkCluster({ ...membership, serverName: this.#serverName });
    const { host, port } = membership;
    if (this.#server === undefined || this.#wanted.membership?.port !== port) await choosePort(host, port, undefined, port);
  }

  async #goBack(): Promise<void> {
    const { log, clock } = this.#options;
    try {
      if (!this.#stopped) await this.#start();
    } catch (error) {
      log.error({ err: error }, "nats-server does not start as it was before either; tried again");
      this.#again = clock.after(AGAIN_MS, () => {
        // Whoever stops it, or has it become something else, has taken it over.
        void this.#inTurn(() => (this.#server === undefined ? this.#goBack() : Promise.resolve())).catch(() => undefined);
      });
    }
  }

  async #halt(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.stop();
  }

  async #start(): Promise<void> {
    const { folder, log, certificate: _, ...rest } = this.#options;
    const { nodes, certificate, membership } = this.#wanted;
    const begunAt = performance.now();
    this.#serverName = await memberName(folder);
    const server = await startNatsServer({
      ...{ ...rest, folder, log, nodes },
      // C2; the first start has chosen it.
      ...(this.#url !== "" && { port: Number(new URL(this.#url).port) }),
      ...(certificate !== undefined && { certificate }),
      ...(membership !== undefined && { cluster: { ...membership, serverName: this.#serverName } }),
    });
    // Where it was one of several before, that name has gone with its groups.
    this.#serverName = await memberName(folder);
    server.onDisconnect((node) => this.#gone.forEach((listener) => listener(node)));
    server.onTrespass((node, what) => this.#trespasses.forEach((listener) => listener(node, what)));
    server.onGuess((address, key) => this.#guesses.forEach((listener) => listener(address, key)));
    [this.#server, this.#url, this.#version] = [server, server.url, server.version];
    log.info({ ms: Math.round(performance.now() - begunAt), member: membership !== undefined }, "nats-server runs");
  }

  async #regroup(its: Partial<Pick<NatsCluster, "routes" | "certificate">>): Promise<void> {
    const { membership } = this.#wanted;
    const next = membership && { membership: { ...membership, ...its } };
    await this.#change({ ...next }, (server) => server.regroup(its));
  }

  async #change(change: Partial<Wanted>, ask: (server: NatsServer) => Promise<void>): Promise<void> {
    if (this.#server === undefined) this.#wanted = { ...this.#wanted, ...change };
    const server = this.#running();
    try {
      await ask(server);
    } finally {
      // What it did not answer it may have taken all the same; it says itself what it goes by.
      const { nodes, certificate, cluster } = server.present;
      const { membership } = this.#wanted;
      const { routes = [], certificate: shown } = cluster ?? {};
      this.#wanted = { nodes, certificate, membership: membership && { ...membership, routes, ...(shown && { certificate: shown }) } };
    }
  }

  #running(): NatsServer {
    if (this.#server !== undefined) return this.#server;
    throw new ClusterError("bus_unreachable", "nats-server does not run; it is started again");
  }
}

/** All that a reload cannot change is the same. */
function isSameProgram(a: NatsMembership | undefined, b: NatsMembership | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.name === b.name && a.host === b.host && a.port === b.port && a.password === b.password;
}

const codeOf = (error: unknown): ClusterError["code"] => (error instanceof ClusterError ? error.code : "internal");

function listen<L>(listeners: Set<L>, listener: L): Subscription {
  listeners.add(listener);
  return { stop: () => listeners.delete(listener) };
}
