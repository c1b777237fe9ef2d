/** Reads bodies within a limit: as a whole, as JSON, or line by line as they come. */
import type { Readable } from "node:stream";
import { GrowingBytes } from "../system/growing-bytes.ts";
import { isTooDeep } from "../system/json-depth.ts";
import { jsonOf } from "../system/json-of.ts";
import { hasMoreThan } from "../system/json-size.ts";
import { ModelFault, QUESTION_FIELDS_MAX } from "./models.ts";

/** Rejects with ModelFault too_large, and with what the stream fails of. */
export function readWhole(stream: Readable, bytesMax: number): Promise<Buffer> {
  return gather(stream, bytesMax);
}

async function gather(pieces: AsyncIterable<Buffer>, bytesMax: number): Promise<Buffer> {
  const whole = new GrowingBytes();
  for await (const piece of pieces) {
    if (whole.length + piece.length > bytesMax) throw new ModelFault("too_large", `more than ${bytesMax} bytes`);
    whole.add(piece);
  }
  return whole.all;
}

/** What the questions of one line hold in memory together, each until its answer is over. */
export class QuestionRoom {
  private readonly bytesMax: number;
  private held = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Passes the pieces on, each counted until `over` aborts. Rejects with ModelFault crowded. */
  async *counted(pieces: AsyncIterable<Buffer>, over: AbortSignal): AsyncGenerator<Buffer> {
    let bytes = 0;
    over.addEventListener("abort", () => (this.held -= bytes), { once: true });
    for await (const piece of pieces) {
      if (over.aborted || this.held + piece.length > this.bytesMax) throw new ModelFault("crowded", "too many large questions at once");
      this.held += piece.length;
      bytes += piece.length;
      yield piece;
    }
  }
}

/** A question as JSON; its stream stays open, for the answer. Rejects as readWhole does, and with ModelFault garbage where it is none. */
export async function readJson(
  stream: Readable,
  { bytesMax, room, over }: { readonly bytesMax: number; readonly room: QuestionRoom; readonly over: AbortSignal },
): Promise<Readonly<Record<string, unknown>>> {
  const bytes = await gather(room.counted(stream.iterator({ destroyOnReturn: false }), over), bytesMax);
  if (hasMoreThan(QUESTION_FIELDS_MAX, bytes))
    throw new ModelFault("garbage", `more than ${QUESTION_FIELDS_MAX} lists, objects and fields`);
  const value = isTooDeep(bytes) ? undefined : jsonOf(bytes.toString());
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new ModelFault("garbage", "the request is no JSON object");
  return value as Readonly<Record<string, unknown>>;
}

/** Resolves when the stream has ended, or a line is longer than that. */
export async function readLines(stream: Readable, bytesMax: number, told: (line: string) => void): Promise<void> {
  let rest = "";
  stream.setEncoding("utf8");
  try {
    for await (const chunk of stream as AsyncIterable<string>) {
      rest += chunk;
      for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
        told(rest.slice(0, end));
        rest = rest.slice(end + 1);
      }
      if (rest.length > bytesMax) return;
    }
  } catch {
    // Its end, whatever the cause, is the line's.
  }
}
