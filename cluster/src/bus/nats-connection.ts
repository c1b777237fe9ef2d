/**
 * One connection to nats-server: opened with an nkey, kept up for ever, its errors put into our own words.
 *
 * K1. Once open it never ends by itself: it reconnects until `close`, also when the server refuses the key, because a
 *     restarted coordinator may not have told its server of this node yet.
 * K2. Reconnecting waits 250 ms at first and 1 s at most, with jitter, so that a cluster does not return in one moment. A
 *     connection that this side gave up is made anew at once: the server may hear its end now, and would take it for ours.
 *     Of several servers another one is tried at once (nats-servers.ts), and a server that is none of them any more is left.
 * K3. With tls:// nothing is said before the server has shown a certificate of the authority that is trusted, and none other.
 */
import { setTimeout as delay } from "node:timers/promises";
import { JetStreamApiError } from "@nats-io/jetstream";
import { connect, errors, nkeyAuthenticator, type NatsConnection } from "@nats-io/transport-node";
import { certificateFault, type Trust } from "@openclaw-cluster/contract/client/certificate";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { PROGRAMS } from "../system/binary-programs.ts";
import type { Log } from "../system/log.ts";
import { isAtLeast } from "../system/version.ts";
import type { Subscription } from "./bus.ts";
import { Knocking, placeOf, ServerChoice, watchHome } from "./nats-servers.ts";

export interface ConnectionOptions {
  /** All nats://, or all tls://. Several are servers of one cluster. */
  readonly urls: readonly string[];
  /** The first is this one's home: it begins there, and comes back to it. Else any is as good as the other. */
  readonly prefersFirst?: boolean;
  /** Who may have certified the server, for tls://. */
  readonly trust?: Trust | undefined;
  readonly seed: Uint8Array | string | Seeds;
  readonly inboxPrefix: string;
  /** Shown in the server's log. */
  readonly name: string;
  readonly log: Log;
  /** How long to try before the first connection; 10 s unless said. */
  readonly firstConnectMs?: number;
  /** Gives up the first connection. */
  readonly signal?: AbortSignal;
  /** Called each time that the server refuses the key while reconnecting (K1). */
  readonly onRefused?: () => void;
}

/** A key that may be exchanged while the connection lasts: asked for at each try, and told when that was let in. */
export interface Seeds {
  forAttempt(): Uint8Array;
  letIn(): void;
}

export interface Connection {
  readonly nc: NatsConnection;
  readonly connected: boolean;
  /** `host:port` of the server that it is, or was last, connected to. */
  readonly server: string;
  /** That is the one which it prefers, if any. */
  readonly atHome: boolean;
  onStatus(listener: (connected: boolean) => void): Subscription;
  /** These are the servers now. The connection stays where it is, for as long as that one lives; if it is none of them, it is left at once. */
  reach(urls: readonly string[]): void;
  close(): Promise<void>;
}

const FIRST_CONNECT_MS = 10_000;
/** One of several may hear later than the others whom its cluster lets in. */
const LAG_MS_MAX = 3_000;
/** A server that was started a moment ago answers within this; then the waits grow. */
const FIRST_RETRY_MS = 20;
const RECONNECT_MS = 250;
const RECONNECT_MS_MAX = 1_000;
const DIAL_MS_MAX = 3_000;
/**
 * With four unanswered pings a half-open link is noticed after 5 to 6.3 s. Sooner than a lease ends, of which 7 s can be left: a node
 * whose server is cut off with the leader's machine finds the next leader in time. Not sooner still: a ping waits behind what was sent
 * before it, and its answer too, which on a full line of 64 kB/s is 3 s (line.ts), and the line's own way.
 */
const PING_MS = 1_250;
const PINGS_UNANSWERED_MAX = 4;
/** Unanswered, and the others are asked whether they take calls. */
const PINGS_DOUBTED = 2;
const CLOSE_MS_MAX = 1_000;
/** On its own machine. */
const HOME_ANSWER_MS_MAX = 1_000;

export async function openConnection(options: ConnectionOptions): Promise<Connection> {
  const pace = reconnectPace(options.urls.length);
  const choice = new ServerChoice();
  const seeds = seedsOf(options);
  const common = { ...tlsFor(options), ...commonOptions(options, seeds) };
  const nc = await dial(options, () =>
    connect({
      ...common,
      servers: [...options.urls],
      noRandomize: options.prefersFirst === true,
      reconnectToServer: choice.pick,
      maxReconnectAttempts: -1,
      reconnectDelayHandler: pace.nextMs,
      ignoreAuthErrorAbort: true,
    }),
  );
  try {
    options.signal?.throwIfAborted();
    checkVersion(nc, options.log);
    seeds.letIn();
  } catch (error) {
    await nc.close();
    throw error;
  }
  const answersAt = async (url: string): Promise<boolean> => {
    try {
      await (await connect({ ...common, servers: [url], timeout: HOME_ANSWER_MS_MAX, reconnect: false })).close();
      seeds.letIn();
      return true;
    } catch {
      // For whatever reason: it is asked again in a moment.
      return false;
    }
  };
  return keepUp(nc, options, { pace, choice, seeds, answersAt });
}

function commonOptions({ name, inboxPrefix }: ConnectionOptions, seeds: Seeds) {
  return {
    name,
    inboxPrefix,
    authenticator: nkeyAuthenticator(() => seeds.forAttempt()),
    timeout: DIAL_MS_MAX,
    // Which servers there are is said by the coordinator, who knows over which address each is reached.
    ignoreClusterUpdates: true,
    pingInterval: PING_MS,
    maxPingOut: PINGS_UNANSWERED_MAX,
    // Stack traces made at each request cost more than the request.
    noAsyncTraces: true,
  };
}

interface Course {
  readonly pace: ReturnType<typeof reconnectPace>;
  readonly choice: ServerChoice;
  readonly seeds: Seeds;
  answersAt(url: string): Promise<boolean>;
}

/** Whether anything can be asked, and who wants to hear of it. */
class Link {
  connected = true;
  readonly listeners = new Set<(connected: boolean) => void>();
  readonly #about: Pick<ConnectionOptions, "log" | "name">;
  #isUp = true;

  constructor(about: Pick<ConnectionOptions, "log" | "name">) {
    this.#about = about;
  }

  /** `leaving`: it is up, and about to be given up. */
  become(isUp: boolean, leaving = false): void {
    this.#isUp = isUp;
    if (this.connected === (isUp && !leaving)) return;
    this.connected = !this.connected;
    const { log, name } = this.#about;
    log.info({ connected: this.connected, name }, this.connected ? "bus connection is back" : "bus connection lost");
    for (const listener of this.listeners) listener(this.connected);
  }

  /** It is not given up after all. */
  stay(): void {
    this.become(this.#isUp);
  }
}

function keepUp(nc: NatsConnection, options: ConnectionOptions, { pace, choice, seeds, answersAt }: Course): Connection {
  const link = new Link(options);
  const knocking = new Knocking();
  let server = nc.getServer();
  choice.arrived(server);
  let urls = options.urls;
  const isUntold = (): boolean => !urls.some((url) => placeOf(url) === server);
  // From now on nothing is asked there: it may keep what it is given for nobody.
  const leave = async (): Promise<void> => {
    link.become(true, true);
    if (!(await move(nc, isUntold))) link.stay();
  };
  // While a key is refused, every attempt says the same.
  let lastRefusal = "";
  const watch = async (): Promise<void> => {
    for await (const status of nc.status()) {
      if (status.type === "disconnect" || status.type === "close") link.become(false);
      pace.saw(status.type);
      if (status.type === "ping" && status.pendingPings > PINGS_DOUBTED && urls.length > 1)
        void knocking.knock(urls.map(placeOf), (place) => choice.answers(place));
      if (status.type === "reconnect") {
        lastRefusal = "";
        seeds.letIn();
        server = status.server;
        choice.arrived(server);
        // It was being called when it ceased to be one of them.
        if (isUntold()) void leave();
        else link.become(true);
      }
      if (status.type === "error" && status.error instanceof errors.AuthorizationError) options.onRefused?.();
      if (status.type === "error" && status.error.message !== lastRefusal) {
        lastRefusal = status.error.message;
        options.log.warn({ name: options.name, refusal: lastRefusal }, "nats-server refused something");
      }
    }
  };
  const watching = watch();
  const [home = ""] = urls;
  const away = (): boolean => link.connected && urls.includes(home) && server !== placeOf(home);
  const goHome = (): Promise<unknown> => move(nc, away, () => choice.aim(home));
  const homeward = options.prefersFirst === true ? watchHome({ away, answers: () => answersAt(home), goHome }) : undefined;
  return {
    nc,
    get connected() {
      return link.connected;
    },
    get server() {
      return server;
    },
    get atHome() {
      return options.prefersFirst !== true || server === placeOf(home);
    },
    onStatus(listener) {
      link.listeners.add(listener);
      return { stop: () => link.listeners.delete(listener) };
    },
    reach(now) {
      // The library throws for an empty list, and cannot know whether one of them speaks TLS.
      const usable = now.filter((url) => speaksTls({ urls: [url] }) === speaksTls(options));
      if (usable.length === 0 || nc.isClosed()) return;
      urls = usable;
      nc.setServers(usable.map(placeOf));
      if (link.connected && isUntold()) void leave();
    },
    async close() {
      homeward?.stop();
      // What was published last goes out first, unless the link is down: then there is nobody to wait for.
      if (link.connected) await Promise.race([nc.flush().catch(() => undefined), delay(CLOSE_MS_MAX, undefined, { ref: false })]);
      await nc.close();
      await watching;
    },
  };
}

/**
 * What was published last goes out first; what was asked and is not answered yet has to be asked again. False: after that it is not
 * wanted any more, and nothing happens.
 */
async function move(nc: NatsConnection, isWanted: () => boolean, aim?: () => void): Promise<boolean> {
  await Promise.race([nc.flush().catch(() => undefined), delay(CLOSE_MS_MAX, undefined, { ref: false })]);
  if (nc.isClosed() || !isWanted()) return false;
  aim?.();
  await nc.reconnect();
  return true;
}

/** The seed as it is now. */
export function seedBytes(seed: ConnectionOptions["seed"]): Uint8Array {
  if (typeof seed === "string") return new TextEncoder().encode(seed);
  return seed instanceof Uint8Array ? seed : seed.forAttempt();
}

function seedsOf({ seed, log }: ConnectionOptions): Seeds {
  const given = typeof seed === "string" ? seedBytes(seed) : seed;
  if (given instanceof Uint8Array) return { forAttempt: () => given, letIn: () => undefined };
  return {
    forAttempt: () => given.forAttempt(),
    letIn() {
      try {
        given.letIn();
      } catch (error) {
        log.error({ err: error }, "the key that was let in could not be put into its place; the other one is kept too");
      }
    },
  };
}

/** K3. Whoever is in between could leave `tls://` out of an address; but addresses come over a way that is trusted as much. */
function tlsFor({ urls, trust }: ConnectionOptions): { tls?: { ca: string; handshakeFirst: true } } {
  if (!speaksTls({ urls })) return {};
  if (trust !== undefined) return { tls: { ca: trust.authorities.join(""), handshakeFirst: true } };
  throw new ClusterError(
    "certificate_refused",
    `${urls.join(", ")} wants TLS, and this machine has no certificate of its coordinator's authority. Join with a new code, or name its file: coordinator.caFile`,
  );
}

const speaksTls = ({ urls }: Pick<ConnectionOptions, "urls">): boolean => urls.some((url) => url.startsWith("tls://"));

/** K2, from what the client library says of its connection. */
function reconnectPace(servers: number): { nextMs(): number; saw(status: string): void } {
  let attempts = 0;
  let gaveUp = false;
  return {
    nextMs() {
      if (!gaveUp) return Math.min(RECONNECT_MS * 2 ** Math.floor(attempts / servers), RECONNECT_MS_MAX) * (0.5 + Math.random() / 2);
      gaveUp = false;
      return 0;
    },
    saw(status) {
      if (status === "reconnecting") attempts = Math.min(attempts + 1, 10 * servers);
      else if (status === "reconnect") attempts = 0;
      gaveUp = status === "staleConnection" || status === "forceReconnect" || (gaveUp && status !== "reconnect");
    },
  };
}

async function dial(options: ConnectionOptions, attempt: () => Promise<NatsConnection>): Promise<NatsConnection> {
  const limit = options.firstConnectMs ?? FIRST_CONNECT_MS;
  const start = performance.now();
  for (let waitMs = FIRST_RETRY_MS; ; waitMs = Math.min(waitMs * 2, RECONNECT_MS)) {
    options.signal?.throwIfAborted();
    try {
      return await attempt();
    } catch (cause) {
      const mayLag = options.urls.length > 1 && performance.now() - start < LAG_MS_MAX;
      if (cause instanceof errors.AuthorizationError && !mayLag) {
        throw new ClusterError("unauthorized", "nats-server does not know this node's key; has the node joined, or was it revoked?", {
          cause,
        });
      }
      const refused = certificateFault(cause, options.urls.join(", "), options.trust);
      if (refused !== undefined) throw refused;
      if (performance.now() - start >= limit) {
        throw new ClusterError("bus_unreachable", `no nats-server at ${options.urls.join(", ")} within ${limit} ms`, { cause });
      }
      await delay(waitMs, undefined, options.signal && { signal: options.signal });
    }
  }
}

function checkVersion(nc: NatsConnection, log: Log): void {
  const { floor, safeFrom } = PROGRAMS["nats-server"];
  const version = nc.info?.version ?? "0.0.0";
  if (!isAtLeast(version, floor))
    throw new ClusterError("binary_missing", `nats-server ${version} answers, but ${floor} or newer is needed`);
  if (!isAtLeast(version, safeFrom)) log.warn({ version }, `this nats-server has known faults; ${safeFrom} or newer is better`);
}

/** JetStream's own codes for a store that is full: of the stream, the account, the server. */
const FULL = new Set([10_023, 10_028, 10_047, 10_077]);
/** What it says while a group has no leader yet, or one that changes; it passes. Its 503 stands for the same where it has no code. */
const NO_LEADER = new Set([10_005, 10_009, 10_041, 10_158]);
const UNAVAILABLE = 503;

/** What the client library threw, as a ClusterError. `what` is the subject or step, for people. */
export function busError(error: unknown, what: string): ClusterError {
  if (error instanceof ClusterError) return error;
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof errors.PermissionViolationError)
      return new ClusterError("forbidden", `${what}: this node may not do that on the bus`, { cause: error });
    if (cause instanceof errors.TimeoutError) return new ClusterError("bus_timeout", `${what}: no answer in time`, { cause: error });
    if (cause instanceof errors.NoRespondersError) return new ClusterError("bus_unreachable", `${what}: nobody listens`, { cause: error });
    if (cause instanceof JetStreamApiError && FULL.has(cause.code))
      return new ClusterError("storage_full", `${what}: ${cause.message}`, { cause: error });
    if (cause instanceof JetStreamApiError && (cause.status === UNAVAILABLE || NO_LEADER.has(cause.code)))
      return new ClusterError("bus_unreachable", `${what}: ${cause.message}`, { cause: error });
    if (isDown(cause)) return new ClusterError("bus_unreachable", `${what}: the connection is down`, { cause: error });
  }
  return new ClusterError("internal", `${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}

/** While a server starts, or a group elects its leader; what was asked is worth another try. */
export function isPassing(error: unknown): boolean {
  return error instanceof ClusterError && (error.code === "bus_timeout" || error.code === "bus_unreachable");
}

function isDown(error: Error): boolean {
  const kinds = [errors.ClosedConnectionError, errors.DrainingConnectionError, errors.ConnectionError];
  // Of its plain RequestErrors the library makes one for a closed connection, told from others by nothing but its place.
  return kinds.some((kind) => error instanceof kind) || (error instanceof errors.RequestError && error.cause === undefined);
}
