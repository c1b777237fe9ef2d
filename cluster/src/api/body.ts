/**
 * Reads a request's body. JSON only: a form or plain text is what a page of another site could send without asking.
 * Reading stops at the limit, so that a body of any size costs no more than LIMITS.bodyBytesMax of memory, and all of them
 * together no more than BODIES_BYTES_MAX: who comes beyond it is refused, and who sends little is not.
 */
import { isUtf8 } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { JSON_DEPTH_MAX } from "@openclaw-cluster/contract/json";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { Clock } from "../system/clock.ts";
import { BodyRoom } from "../system/body-room.ts";
import { GrowingBytes } from "../system/growing-bytes.ts";
import { isTooDeep } from "../system/json-depth.ts";
import { problemHeaders, problemText } from "./answers.ts";
import { jsonFault } from "./json-fault.ts";

/** A rest of a body up to this size is read and thrown away, which keeps the connection. */
const REST_BYTES_MAX = 64 * 1024;
const JSON_TYPE = /^application\/json *(;|$)/i;
/** How long a caller that is still sending has to see that it was refused. */
const LINGER_MS = 1_000;
/** Large bodies in memory at once, from their first byte to the answer: twenty times what one client of ours sends together. */
export const BODIES_BYTES_MAX = 64 * 1024 * 1024;
/** B1 in body-room.ts. */
const SMALL_BYTES_MAX = 64 * 1024;
const BODIES_AGAIN_MS = 2_000;
/** In a larger body nobody looks for the place of its fault: nobody wrote it by hand, and the search would hold up the others. */
const FAULT_BYTES_MAX = 1024 * 1024;

export interface Body {
  readonly raw: Buffer;
  readonly value: unknown;
}

export interface Bodies {
  /** Reads the body and hands it on; it counts as being in memory until that is done. No larger than `bytesMax`, or payload_too_large. */
  read<T>(incoming: IncomingMessage, use: (body: Body) => Promise<T>, bytesMax?: number): Promise<T>;
}

export function openBodies(): Bodies {
  const room = new BodyRoom(BODIES_BYTES_MAX, SMALL_BYTES_MAX);
  return {
    async read(incoming, use, bytesMax = LIMITS.bodyBytesMax) {
      const type = incoming.headers["content-type"];
      if (type === undefined || !JSON_TYPE.test(type)) throw notJson();
      const encoding = incoming.headers["content-encoding"];
      if (encoding !== undefined && encoding !== "identity")
        throw new ClusterError("unsupported_media_type", "A compressed body is not accepted.");
      const share = room.enter();
      try {
        const raw = await readBody(incoming, bytesMax, share.hasRoomFor);
        return await use({ raw, value: parseJson(raw) });
      } finally {
        share.leave();
      }
    },
  };
}

/** For a change that takes no body: what a page of another site could send without asking is refused there as well. */
export function refuseForm({ headers }: IncomingMessage): void {
  const type = headers["content-type"];
  const isEmpty = headers["transfer-encoding"] === undefined && Number(headers["content-length"] ?? 0) === 0;
  if (type === undefined ? !isEmpty : !JSON_TYPE.test(type)) throw notJson();
}

function notJson(): ClusterError {
  return new ClusterError("unsupported_media_type", "The body must be JSON, with the header content-type: application/json.");
}

/** `hasRoomFor` is asked with each piece for all that has come. */
function readBody(incoming: IncomingMessage, bytesMax: number, hasRoomFor: (bytes: number) => boolean): Promise<Buffer> {
  const tooLarge = (): ClusterError => new ClusterError("payload_too_large", `The body is larger than ${bytesMax} bytes.`);
  if (Number(incoming.headers["content-length"] ?? 0) > bytesMax) throw tooLarge();
  return new Promise((resolve, reject) => {
    const whole = new GrowingBytes();
    const stop = (error: ClusterError): void => {
      incoming.removeAllListeners("data").pause();
      reject(error);
    };
    incoming.on("data", (chunk: Buffer) => {
      const bytes = whole.length + chunk.length;
      if (bytes > bytesMax) stop(tooLarge());
      else if (!hasRoomFor(bytes))
        stop(new ClusterError("overloaded", "Too many large requests at once.", { retryAfterMs: BODIES_AGAIN_MS }));
      else whole.add(chunk);
    });
    incoming.on("end", () => resolve(whole.all));
    incoming.on("error", (cause) => reject(new ClusterError("bad_request", "The body did not arrive whole.", { cause })));
    incoming.on("close", () => {
      if (!incoming.complete) reject(new ClusterError("bad_request", "The body did not arrive whole."));
    });
  });
}

function parseJson(raw: Buffer): unknown {
  if (!isUtf8(raw)) throw new ClusterError("bad_request", "The body is not UTF-8.");
  if (isTooDeep(raw))
    throw new ClusterError("bad_request", `The body is nested too deep; a value is at most ${JSON_DEPTH_MAX} levels deep.`);
  const text = raw.toString("utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const where = raw.length > FAULT_BYTES_MAX ? "" : `: ${jsonFault(text)}`;
    throw new ClusterError("bad_request", `The body is not JSON${where}.`, { cause });
  }
  // zod leaves such a key out without a word, and with it perhaps a condition that somebody relied on. Most texts cannot hold one,
  // written out or in escapes.
  if ((text.includes("__proto__") || text.includes("\\u")) && hasProtoKey(value))
    throw new ClusterError("bad_request", "A key __proto__ is not taken.");
  return value;
}

/** The text is not nested too deep to be walked through. */
function hasProtoKey(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return Object.hasOwn(value, "__proto__") || Object.values(value).some(hasProtoKey);
}

/** True while a large body is still on its way. */
export function isSending({ complete, headers }: IncomingMessage): boolean {
  return !complete && (headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > REST_BYTES_MAX);
}

/**
 * Refuses without reading on. The answer is whole at once, but the connection stays for a moment: closed with unread
 * bytes in it, it would be reset, and the caller would see a broken pipe instead of the reason.
 */
export function refuseUnread(outgoing: ServerResponse, error: ClusterError, clock: Clock): void {
  const text = problemText(error);
  outgoing.writeHead(error.row.status, { ...problemHeaders(error), connection: "close", "content-length": Buffer.byteLength(text) });
  outgoing.write(text);
  const over = clock.after(LINGER_MS, () => outgoing.end());
  outgoing.on("close", () => over.cancel());
}
