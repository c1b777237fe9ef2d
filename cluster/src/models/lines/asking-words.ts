/** How a node's request for a model, and what comes of it, is written on the node's line. */
import { Readable } from "node:stream";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { readWhole } from "./line-body.ts";
import type { LineAnswer } from "./line.ts";
import { ModelFault, RouteRefusal, type ModelRequest, type RoutedAnswer } from "../models.ts";

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

/** What is told of each answer, refusals too. */
type Told = Pick<RoutedAnswer, "attempts" | "id" | "why">;

export const toldHeaders = ({ attempts, id, why }: Told | RouteRefusal): Record<string, string> => ({
  "x-attempts": String(attempts),
  ...(id !== undefined && { "x-id": id }),
  ...(why !== undefined && { "x-why": why }),
});

export function toldIn({ "x-attempts": attempts = "0", "x-id": id, "x-why": why }: LineAnswer["headers"]): Told {
  return { attempts: Number(attempts), ...(id !== undefined && { id }), ...(why !== undefined && { why }) };
}

export function answerOf({ status, contentType, node, model, body, ...told }: RoutedAnswer): LineAnswer {
  return {
    status,
    headers: {
      ...{ "content-type": contentType, ...toldHeaders(told) },
      ...(node !== undefined && { "x-node": node }),
      ...(model !== undefined && { "x-model": model }),
    },
    body,
  };
}

/** Rejects with RouteRefusal where it is none. */
export async function answerIn(answer: LineAnswer): Promise<RoutedAnswer> {
  await throwIfRefused(answer);
  const { "x-node": node, "x-model": model, "content-type": contentType = "" } = answer.headers;
  return {
    ...{ status: answer.status, contentType, body: answer.body, ...toldIn(answer.headers) },
    ...(node !== undefined && { node }),
    ...(model !== undefined && { model }),
  };
}

export const plain = (status: number, type: string, text: string): LineAnswer => ({
  status,
  headers: { "content-type": type },
  body: Readable.from([Buffer.from(text)]),
});

export function refused(refusal: RouteRefusal): LineAnswer {
  const { status, code, message, retryAfterMs } = refusal;
  const more = retryAfterMs === undefined ? {} : { "x-retry-after-ms": String(Math.ceil(retryAfterMs)) };
  return {
    ...plain(status, "text/plain", message.slice(0, MESSAGE_CHARS_MAX)),
    headers: { [REFUSAL]: code, ...toldHeaders(refusal), ...more },
  };
}

export async function throwIfRefused({ status, headers, body }: LineAnswer): Promise<void> {
  const { [REFUSAL]: code } = headers;
  if (code === undefined) return;
  const message = (await readWhole(body, MESSAGE_BYTES_MAX)).toString();
  if (!Number.isInteger(status)) throw new ModelFault("garbage", message);
  const retryAfterMs = Number(headers["x-retry-after-ms"]);
  throw new RouteRefusal(status, code, message, { ...toldIn(headers), ...(retryAfterMs > 0 && { retryAfterMs }) });
}
