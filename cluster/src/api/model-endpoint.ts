/**
 * The models of all nodes on this machine's loopback, as OpenAI's API, for programs of its owner: OpenClaw, editors, scripts.
 *
 * E1. It listens on the loopback only, and answers nothing without its own key, which lies in a file that only its owner reads.
 * E2. As with the cluster's API no page of another site gets through (origin.ts).
 * E3. Wrong keys are limited, and shut out nobody with the right one, unlike those of the cluster's API: all programs of this machine
 *     have one address, and one of them with an old key would stop the others. 32 bytes by chance are not guessed.
 */
import { timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ModelAsker, ModelRouter } from "../models/models.ts";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { hashToken } from "../trust/token.ts";
import { AuthFailures } from "./auth-failures.ts";
import { openModelFront } from "./model-front.ts";
import { checkOrigin } from "./origin.ts";

const HOST = "127.0.0.1";
/** As the cluster's API (api.ts); a large prompt comes over the loopback in no time. */
const HEADERS_MS = 5_000;
const REQUEST_MS = 30_000;
/** Streams of one machine's owner. */
const CONNECTIONS_MAX = 1_024;
const BEARER = /^bearer\s+/i;

export interface EndpointParts {
  readonly router: ModelRouter;
  readonly port: number;
  /** Its own key. */
  readonly key: string;
  readonly asker: ModelAsker;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Endpoint {
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

/** Throws port_taken. */
export async function openModelEndpoint({ router, port, key, asker, clock, log }: EndpointParts): Promise<Endpoint> {
  const hosts = new Set<string>();
  const failures = new AuthFailures(clock);
  const known = Buffer.from(hashToken(key));
  const admit = (incoming: IncomingMessage): ModelAsker => {
    checkOrigin(incoming, hosts);
    const presented = incoming.headers.authorization?.replace(BEARER, "").trim() ?? "";
    // E3, before the limit.
    if (timingSafeEqual(Buffer.from(hashToken(presented)), known)) return asker;
    const address = incoming.socket.remoteAddress ?? "";
    const waitMs = failures.waitMs(address);
    if (waitMs > 0) throw new ClusterError("overloaded", "Too many wrong keys.", { retryAfterMs: waitMs });
    failures.failed(address);
    throw new ClusterError("unauthorized", "This endpoint wants its own key: the file models.key in the cluster's folder of this machine.");
  };
  const front = openModelFront({ router, admit, log });
  const server = createServer({ headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS, maxHeaderSize: 16 * 1024 }, front.serve);
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) =>
      reject(
        new ClusterError("port_taken", `The endpoint for models cannot listen on port ${port} of ${HOST} (${cause.code}).`, { cause }),
      ),
    );
    server.listen(port, HOST, resolve);
  });
  server.on("error", (error) => log.error({ err: error }, "the socket of the endpoint for models failed"));
  const bound = (server.address() as AddressInfo).port;
  for (const name of [HOST, "localhost", "[::1]"]) hosts.add(`${name}:${bound}`);
  return {
    url: `http://${HOST}:${bound}/v1`,
    port: bound,
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      return closed;
    },
  };
}
