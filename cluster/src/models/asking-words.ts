/** How a node's request for a model, and what comes of it, is written on the node's line. */
import { Readable } from "node:stream";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { readWhole } from "./line-body.ts";
import type { LineAnswer } from "./line.ts";
import { ModelFault, RouteRefusal, type ModelRequest, type RoutedAnswer } from "./models.ts";

const MESSAGE_BYTES_MAX = 64 * 1024;
const MESSAGE_CHARS_MAX = MESSAGE_BYTES_MAX / 4;
const REFUSAL = "x-refusal";

export type Wishes = Pick<ModelRequest, "session" | "lane" | "on">;

export const headersOf = ({ session, lane, on }: Wishes): Record<string, string> => ({
  "x-lane": lane,
  ...(session !== undefined && { "x-session": session }),
  ...(on !== undefined && { "x-on": on }),
});

/** What an older build does not say is as if nothing were wished. */
export function wishesIn({ "x-session": session, "x-lane": lane, "x-on": on }: LineAnswer["headers"]): Wishes {
  if (on !== undefined && !NodeId.safeParse(on).success) throw new RouteRefusal(400, "bad_request", `${on} is no name of a node.`);
  return {
    lane: lane === "batch" ? lane : "interactive",
    ...(session !== undefined && { session }),
    ...(on !== undefined && { on: on as NodeId }),
  };
}

export function answerOf({ status, contentType, node, model, attempts, body }: RoutedAnswer): LineAnswer {
  return {
    status,
    headers: {
      ...{ "content-type": contentType, "x-attempts": String(attempts) },
      ...(node !== undefined && { "x-node": node }),
      ...(model !== undefined && { "x-model": model }),
    },
    body,
  };
}

/** Rejects with RouteRefusal where it is none. */
export async function answerIn(answer: LineAnswer): Promise<RoutedAnswer> {
  await throwIfRefused(answer);
  const { "x-node": node, "x-model": model, "x-attempts": attempts = "0", "content-type": contentType = "" } = answer.headers;
  return {
    ...{ status: answer.status, contentType, body: answer.body, attempts: Number(attempts) },
    ...(node !== undefined && { node }),
    ...(model !== undefined && { model }),
  };
}

export const plain = (status: number, type: string, text: string): LineAnswer => ({
  status,
  headers: { "content-type": type },
  body: Readable.from([Buffer.from(text)]),
});

export function refused({ status, code, message, retryAfterMs, attempts }: RouteRefusal): LineAnswer {
  const more = retryAfterMs === undefined ? {} : { "x-retry-after-ms": String(Math.ceil(retryAfterMs)) };
  return {
    ...plain(status, "text/plain", message.slice(0, MESSAGE_CHARS_MAX)),
    headers: { [REFUSAL]: code, "x-attempts": String(attempts), ...more },
  };
}

export async function throwIfRefused({ status, headers, body }: LineAnswer): Promise<void> {
  const { [REFUSAL]: code, "x-attempts": attempts } = headers;
  if (code === undefined) return;
  const message = (await readWhole(body, MESSAGE_BYTES_MAX)).toString();
  if (!Number.isInteger(status)) throw new ModelFault("garbage", message);
  const retryAfterMs = Number(headers["x-retry-after-ms"]);
  throw new RouteRefusal(status, code, message, { attempts: Number(attempts), ...(retryAfterMs > 0 && { retryAfterMs }) });
}
