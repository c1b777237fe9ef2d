/**
 * Reads a request's body. JSON only: a form or plain text is what a page of another site could send without asking.
 * Reading stops at the limit, so that a body of any size costs no more than LIMITS.bodyBytesMax of memory.
 */
import { isUtf8 } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { Clock } from "../system/clock.ts";
import { problemHeaders, problemText } from "./answers.ts";
import { jsonFault } from "./json-fault.ts";

/** A rest of a body up to this size is read and thrown away, which keeps the connection. */
const REST_BYTES_MAX = 64 * 1024;
/** How long a caller that is still sending has to see that it was refused. */
const LINGER_MS = 1_000;
const TOO_LARGE = `The body is larger than ${LIMITS.bodyBytesMax} bytes.`;

export async function readJson(incoming: IncomingMessage): Promise<{ raw: Buffer; value: unknown }> {
  const type = incoming.headers["content-type"];
  if (type === undefined || !/^application\/json *(;|$)/i.test(type)) {
    throw new ClusterError("unsupported_media_type", "The body must be JSON, with the header content-type: application/json.");
  }
  const encoding = incoming.headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity")
    throw new ClusterError("unsupported_media_type", "A compressed body is not accepted.");
  const raw = await readBody(incoming);
  return { raw, value: parseJson(raw) };
}

function readBody(incoming: IncomingMessage): Promise<Buffer> {
  if (Number(incoming.headers["content-length"] ?? 0) > LIMITS.bodyBytesMax) throw new ClusterError("payload_too_large", TOO_LARGE);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    incoming.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > LIMITS.bodyBytesMax) {
        incoming.removeAllListeners("data").pause();
        reject(new ClusterError("payload_too_large", TOO_LARGE));
      } else chunks.push(chunk);
    });
    incoming.on("end", () => resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)));
    incoming.on("error", (cause) => reject(new ClusterError("bad_request", "The body did not arrive whole.", { cause })));
    incoming.on("close", () => {
      if (!incoming.complete) reject(new ClusterError("bad_request", "The body did not arrive whole."));
    });
  });
}

function parseJson(raw: Buffer): unknown {
  if (!isUtf8(raw)) throw new ClusterError("bad_request", "The body is not UTF-8.");
  const text = raw.toString("utf8");
  // zod leaves such a key out without a word, and with it perhaps a condition that somebody relied on.
  if (text.includes('"__proto__"')) throw new ClusterError("bad_request", "A key or text __proto__ is not taken.");
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new ClusterError("bad_request", `The body is not JSON: ${jsonFault(text)}.`, { cause });
  }
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
