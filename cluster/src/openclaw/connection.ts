/**
 * The one persistent WebSocket to the Gateway. Handshake, device proof, request pairing and the watch on silence are
 * those of @openclaw/gateway-client; here is when to try again, and what our callers see of it.
 *
 * C1. A client of the package makes one connection; the next one is made here, after a pause that grows to RETRY_MS_MAX.
 *     (The package's own pause grows to 30 s, and it stops for good when the Gateway refuses the token.)
 * C2. Every request has a time limit or a signal, and ends in an answer or a ClusterError: gateway_unreachable when no
 *     answer came, gateway_refused with the Gateway's words when it said no.
 * C3. The token stands in no log and no error.
 */
import { GatewayClient, GatewayClientRequestError } from "@openclaw/gateway-client";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { z } from "zod";
import type { Clock, Timer } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { loadDeviceIdentity, rawPublicKey, signDevicePayload } from "./device-identity.ts";

export interface ConnectionOptions {
  /** ws://127.0.0.1:18789 */
  readonly url: string;
  readonly token: string;
  readonly identityFile: string;
  readonly log: Log;
  readonly clock: Clock;
}

export interface RequestOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** For a method that first answers `accepted`: waits for its second answer, which only the signal limits. */
  readonly final?: { readonly onSent: () => void; readonly onAccepted: () => void };
}

export interface GatewayEvent {
  readonly event: string;
  readonly payload?: unknown;
}

/** What the Gateway says of itself when a connection opens. */
export interface Hello {
  readonly version: string;
  readonly defaultAgent: string;
}

const HelloAnswer = z.looseObject({
  server: z.looseObject({ version: z.string().catch("unknown") }),
  snapshot: z
    .looseObject({ sessionDefaults: z.looseObject({ defaultAgentId: z.string().catch("main") }) })
    .catch({ sessionDefaults: { defaultAgentId: "main" } }),
});

const PROTOCOL = 4;
const REQUEST_MS = 15_000;
const RETRY_MS_FIRST = 500;
const RETRY_MS_MAX = 10_000;
/** After a refused token or protocol: only a person can change that. */
const RETRY_REFUSED_MS = 30_000;

/** What turns and inventory need of it. */
export type Connection = Pick<GatewayConnection, "hello" | "onStatus" | "onEvent" | "ready" | "request">;

export class GatewayConnection {
  readonly #options: ConnectionOptions;
  readonly #identity: ReturnType<typeof loadDeviceIdentity>;
  readonly #statusListeners = new Set<(reachable: boolean) => void>();
  readonly #eventListeners = new Set<(event: GatewayEvent) => void>();
  #client: GatewayClient | undefined;
  #hello: Hello | undefined;
  #retry: Timer | undefined;
  #failures = 0;
  #problem = "no connection yet";
  #closed = false;

  /** Throws ClusterError config_invalid for an identity file that cannot be used; everything else is tried again. */
  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#identity = loadDeviceIdentity(options.identityFile);
    this.#open();
  }

  get hello(): Hello | undefined {
    return this.#hello;
  }

  onStatus(listener: (reachable: boolean) => void): { stop(): void } {
    this.#statusListeners.add(listener);
    return { stop: () => void this.#statusListeners.delete(listener) };
  }

  onEvent(listener: (event: GatewayEvent) => void): { stop(): void } {
    this.#eventListeners.add(listener);
    return { stop: () => void this.#eventListeners.delete(listener) };
  }

  /** Resolves when there is a connection; throws gateway_unreachable after `limitMs`, or at once when it is closed. */
  async ready(limitMs: number, signal?: AbortSignal): Promise<Hello> {
    if (this.#hello !== undefined) return this.#hello;
    if (this.#closed) throw this.#unreachable();
    const over = Promise.withResolvers<void>();
    const done = (): void => over.resolve();
    const status = this.onStatus(done);
    const limit = this.#options.clock.after(limitMs, done);
    signal?.addEventListener("abort", done, { once: true });
    if (signal?.aborted) done();
    await over.promise;
    status.stop();
    limit.cancel();
    signal?.removeEventListener("abort", done);
    if (this.#hello === undefined) throw this.#unreachable();
    return this.#hello;
  }

  async request<Schema extends z.ZodType>(
    method: string,
    params: object,
    schema: Schema,
    options: RequestOptions = {},
  ): Promise<z.infer<Schema>> {
    const client = this.#client;
    if (client === undefined || this.#hello === undefined) throw this.#unreachable();
    const { final, signal, timeoutMs = REQUEST_MS } = options;
    const limits = { timeoutMs: final ? null : timeoutMs, ...(signal && { signal }) };
    let answer: unknown;
    try {
      answer = await client.request(method, params, { ...limits, ...(final && { ...final, expectFinal: true }) });
    } catch (error) {
      if (!(error instanceof GatewayClientRequestError)) {
        throw new ClusterError("gateway_unreachable", `${method}: the Gateway gave no answer (${text(error)})`, { cause: error });
      }
      // Full or starting: the method has not run, and the same request may succeed later.
      throw new ClusterError(error.retryable ? "gateway_unreachable" : "gateway_refused", `${method}: ${error.message}`, { cause: error });
    }
    const parsed = schema.safeParse(answer);
    if (!parsed.success)
      throw new ClusterError("gateway_refused", `${method}: the Gateway answered in another form than expected`, { cause: parsed.error });
    return parsed.data;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#problem = "it was closed";
    this.#retry?.cancel();
    const client = this.#client;
    this.#down();
    try {
      await client?.stopAndWait();
    } catch (error) {
      this.#options.log.debug({ error: text(error) }, "the Gateway's connection did not close in time");
    }
  }

  #open(): void {
    const { url, token } = this.#options;
    const client = new GatewayClient({
      url,
      ...(token !== "" && { token }),
      minProtocol: PROTOCOL,
      maxProtocol: PROTOCOL,
      clientName: "gateway-client",
      clientDisplayName: "OpenClaw Cluster",
      mode: "backend",
      role: "operator",
      scopes: ["operator.read", "operator.write"],
      caps: ["tool-events"],
      deviceIdentity: this.#identity,
      hostDeps: { signDevicePayload, publicKeyRawBase64UrlFromPem: rawPublicKey },
      onHelloOk: (hello) => this.#up(hello),
      onEvent: (event) => this.#eventListeners.forEach((listener) => listener(event)),
      onConnectError: (error) => {
        this.#problem = problemOf(error);
      },
      onClose: (_code, _reason, info) => {
        client.stop();
        if (client === this.#client) this.#tryAgain(info?.connectError);
      },
    });
    this.#client = client;
    try {
      client.start();
    } catch (error) {
      // An address that the package refuses to send a token to.
      this.#problem = problemOf(error);
      this.#tryAgain(error);
    }
  }

  #up(hello: unknown): void {
    const { server, snapshot } = HelloAnswer.parse(hello);
    this.#hello = { version: server.version, defaultAgent: snapshot.sessionDefaults.defaultAgentId };
    this.#failures = 0;
    this.#options.log.info({ url: this.#options.url, version: server.version }, "connected to the OpenClaw Gateway");
    this.#statusListeners.forEach((listener) => listener(true));
  }

  #down(): void {
    const was = this.#hello !== undefined;
    this.#hello = undefined;
    this.#client = undefined;
    if (was) this.#statusListeners.forEach((listener) => listener(false));
  }

  #tryAgain(error: unknown): void {
    if (this.#hello !== undefined) this.#problem = "the connection was lost";
    const refused = error instanceof GatewayClientRequestError && !error.retryable;
    const pauseMs = refused ? RETRY_REFUSED_MS : Math.min(RETRY_MS_FIRST * 2 ** this.#failures, RETRY_MS_MAX);
    this.#failures += 1;
    if (this.#failures === 1)
      this.#options.log.warn({ url: this.#options.url, problem: this.#problem }, "no connection to the OpenClaw Gateway");
    this.#down();
    if (this.#closed) return;
    // Jitter, so that the workers of several daemons do not come in step after a restart.
    this.#retry = this.#options.clock.after(pauseMs * (0.75 + Math.random() / 2), () => this.#open());
  }

  #unreachable(): ClusterError {
    return new ClusterError("gateway_unreachable", `The OpenClaw Gateway at ${this.#options.url} is not reachable: ${this.#problem}.`);
  }
}

function problemOf(error: unknown): string {
  if (error instanceof GatewayClientRequestError) return `it refused the connection (${error.message})`;
  return text(error);
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
