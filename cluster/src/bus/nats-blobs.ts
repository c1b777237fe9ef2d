/**
 * Blobs in their node's stream: parts of 64 KiB under `ocx.blob.<name>.<n>`, then an `end` that says how many
 * there are and what they hash to. A blob without its end does not exist.
 */
import { createHash } from "node:crypto";
import { jetstreamManager, type StoredMsg } from "@nats-io/jetstream";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { z } from "zod";
import { decodeBody, encodeBody } from "./body.ts";
import type { Appender } from "./nats-append.ts";
import { busError, type Connection } from "./nats-connection.ts";
import type { Keeper } from "./nats-keeper.ts";
import { blobStream } from "./nats-streams.ts";
import { blobPart, keptUnder, nodeOf } from "./subjects.ts";

/** Small enough for a slow line: a part takes 1 s at 64 kB/s, and what else is to be said gets in between. */
const PART_BYTES = 64 * 1024;
/** Parts of one blob under way; four fill the disk's time and keep memory small. */
const PARTS_IN_FLIGHT = 4;

const End = z.object({
  parts: z
    .int()
    .min(0)
    .max(LIMITS.resultBytesBlobMax / PART_BYTES),
  bytes: z.int().min(0).max(LIMITS.resultBytesBlobMax),
  sha256: z.string(),
});

export async function putBlob(appender: Appender, name: string, bytes: Uint8Array): Promise<void> {
  const end = blobPart(name, "end");
  if (bytes.length > LIMITS.resultBytesBlobMax)
    throw new ClusterError("payload_too_large", `blob ${name}: ${bytes.length} bytes; the limit is ${LIMITS.resultBytesBlobMax}`);
  const parts = Math.ceil(bytes.length / PART_BYTES);
  for (let first = 0; first < parts; first += PARTS_IN_FLIGHT) {
    const numbers = Array.from({ length: Math.min(PARTS_IN_FLIGHT, parts - first) }, (_, i) => first + i);
    await Promise.all(numbers.map((n) => appender.append(blobPart(name, n), bytes.subarray(n * PART_BYTES, (n + 1) * PART_BYTES))));
  }
  await appender.append(end, encodeBody({ parts, bytes: bytes.length, sha256: sha256(bytes) }, end));
}

/** undefined where there is no such blob, or no longer, or not one that is whole: its node can write there whatever it likes. */
export async function getBlob(connection: Connection, keeper: Keeper, name: string): Promise<Uint8Array | undefined> {
  const endSubject = blobPart(name, "end");
  const node = nodeOf(endSubject);
  const word = await keeper.of(node);
  const manager = await jetstreamManager(connection.nc, { checkAPI: false });
  const get = async (subject: string): Promise<StoredMsg | null> => {
    const query = { last_by_subj: keptUnder(subject, word) };
    try {
      const found = await manager.direct.getMessage(blobStream(node), query);
      // Any copy answers, and one may not have yet what most of them have stored; the leader has.
      return found ?? (keeper.copies > 1 ? await manager.streams.getMessage(blobStream(node), query) : null);
    } catch (thrown) {
      const error = busError(thrown, subject);
      // Nobody answers for a stream that is not there, and of a node that is gone there may be none any more.
      if (error.code === "bus_unreachable" && connection.connected && !keeper.keeps(node)) return null;
      throw error;
    }
  };
  const last = await get(endSubject);
  if (last === null) return undefined;
  const end = End.safeParse(decodeBody(last.data));
  if (!end.success) return undefined;
  const parts: Uint8Array[] = [];
  for (let n = 0; n < end.data.parts; n += 1) {
    const part = await get(blobPart(name, n));
    // The stream drops its oldest when it is full, and a blob's parts are older than its end.
    if (part === null) return undefined;
    parts.push(part.data);
  }
  const bytes = Buffer.concat(parts);
  return bytes.length === end.data.bytes && sha256(bytes) === end.data.sha256 ? bytes : undefined;
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("base64url");
