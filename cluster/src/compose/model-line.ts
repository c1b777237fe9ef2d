/**
 * Keeps a node's line to whoever leads: opens it at the control node that takes it, and again when it is gone.
 *
 * K1. Only a line on which the coordinator has proved itself is used, by the key that this machine has joined with.
 * K2. Tries come with pauses that grow, half of each by chance, so that the nodes of a cluster do not come together.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { Session } from "@openclaw-cluster/contract/join";
import type { LineEnd } from "../models/lines/line.ts";
import { LINE_PROOF, LINE_SESSION, LINE_UPGRADE, linePath, packed, unpacked, type LineWay } from "../models/models.ts";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { pause } from "../system/pause.ts";
import type { OwnKey } from "../trust/own-key.ts";
import { isSessionAnswer, makeSessionRequest } from "../trust/session-proof.ts";

const DIAL_MS = 5_000;
const AGAIN_MS = 250;
const AGAIN_MS_MAX = 5_000;

/** Where the control nodes are, and how they prove themselves. */
export interface LineWhere {
  readonly urls: readonly string[];
  readonly coordinatorKey: string;
  readonly trust?: Trust | undefined;
}

export interface LineParts {
  readonly node: NodeId;
  readonly keys: OwnKey;
  readonly way: LineWay;
  /** Asked before each round; undefined: not known yet. */
  where(): Promise<LineWhere | undefined>;
  /** Takes it, until it is over. */
  use(socket: Socket): LineEnd;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

export function keepLine(parts: LineParts): { close(): void } {
  const closed = new AbortController();
  let present: LineEnd | undefined;
  const run = async (): Promise<void> => {
    for (let waitMs = AGAIN_MS; !closed.signal.aborted; waitMs = Math.min(waitMs * 2, AGAIN_MS_MAX)) {
      const socket = await dialAny(parts, closed.signal);
      if (socket !== undefined) {
        present = parts.use(socket);
        if (closed.signal.aborted) present.close();
        await present.ended;
        waitMs = AGAIN_MS;
      }
      await pause(parts.clock, waitMs * (0.5 + parts.random()), closed.signal);
    }
  };
  void run().catch((error: unknown) => parts.log.error({ err: error }, "the line for models is not kept any more"));
  return {
    close() {
      closed.abort();
      present?.close();
    },
  };
}

async function dialAny(parts: LineParts, signal: AbortSignal): Promise<Socket | undefined> {
  const where = await parts.where().catch(() => undefined);
  for (const url of where?.urls ?? []) {
    if (signal.aborted) return undefined;
    try {
      return await dial(url, where as LineWhere, parts, signal);
    } catch (error) {
      parts.log.debug({ err: error, url, way: parts.way }, "no line for models there");
    }
  }
  return undefined;
}

function dial(url: string, { coordinatorKey, trust }: LineWhere, { node, keys, way }: LineParts, signal: AbortSignal): Promise<Socket> {
  const question = makeSessionRequest(node, coordinatorKey, keys.seed);
  const at = new URL(linePath(node, way), url);
  const http = process.getBuiltinModule(at.protocol === "https:" ? "node:https" : "node:http");
  const tls = at.protocol === "https:" ? { rejectUnauthorized: true, ...(trust !== undefined && { ca: [...trust.authorities] }) } : {};
  const headers = {
    ...{ connection: "Upgrade", upgrade: LINE_UPGRADE },
    [LINE_PROOF]: packed(question),
  };
  return new Promise((resolve, reject) => {
    // No agent: the connection is the line's for good.
    const request = http.request(at, { agent: false, headers, ...tls });
    const giveUp = (): void => void request.destroy(new Error("no answer in time"));
    const timer = setTimeout(giveUp, DIAL_MS);
    signal.addEventListener("abort", giveUp, { once: true });
    // A line outlives both.
    request.on("close", () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", giveUp);
    });
    request.on("upgrade", (answer: IncomingMessage, socket: Socket, head: Buffer) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", giveUp);
      const session = Session.safeParse(unpacked(answer.headers[LINE_SESSION])).data;
      if (session === undefined || !isSessionAnswer(node, session, question, coordinatorKey)) {
        socket.destroy();
        return reject(new Error(`whoever answers at ${url} does not prove to be the coordinator`));
      }
      socket.setNoDelay();
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    request.on("response", (answer) => {
      answer.resume();
      reject(new Error(`${url} answers ${answer.statusCode}`));
    });
    request.on("error", reject);
    request.end();
  });
}
