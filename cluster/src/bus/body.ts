/** Bodies on the bus: JSON in UTF-8. Buffer is used because it is twice as fast as TextEncoder and TextDecoder here. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { isTooDeep } from "../system/json-depth.ts";
import { BODY_BYTES_MAX } from "./bus.ts";

/** Throws payload_too_large: such a message would cost the whole connection. */
export function encodeBody(body: unknown, subject: string): Buffer {
  const bytes = Buffer.from(JSON.stringify(body) ?? "null");
  if (bytes.length > BODY_BYTES_MAX)
    throw new ClusterError("payload_too_large", `${subject}: ${bytes.length} bytes; a message holds ${BODY_BYTES_MAX}`);
  return bytes;
}

/** undefined, which JSON does not have, for what is no JSON, and for what is too deep to be one of ours. */
export function decodeBody(bytes: Uint8Array): unknown {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isTooDeep(text)) return undefined;
  try {
    return JSON.parse(text.toString("utf8")) as unknown;
  } catch {
    // Whoever wrote it is told by no answer; the caller drops it.
    return undefined;
  }
}
