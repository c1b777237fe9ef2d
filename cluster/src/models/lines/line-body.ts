/** Reads bodies within a limit: as a whole, as JSON, or line by line as they come. */
import type { Readable } from "node:stream";
import { GrowingBytes } from "../../system/growing-bytes.ts";
import type { BodyRoom } from "../../system/body-room.ts";
import { ModelFault, questionIn } from "../models.ts";

/** Rejects with ModelFault too_large, and with what the stream fails of. */
export function readWhole(stream: Readable, bytesMax: number): Promise<Buffer> {
  return gather(stream, bytesMax);
}

async function gather(pieces: AsyncIterable<Buffer>, bytesMax: number, judge: (bytes: number) => void = () => undefined): Promise<Buffer> {
  const whole = new GrowingBytes();
  for await (const piece of pieces) {
    const bytes = whole.length + piece.length;
    if (bytes > bytesMax) throw new ModelFault("too_large", `more than ${bytesMax} bytes`);
    judge(bytes);
    whole.add(piece);
  }
  return whole.all;
}

/**
 * A question as JSON; its stream stays open, for the answer. It counts as being in memory until `over` aborts. Rejects as readWhole does,
 * with ModelFault crowded, and with garbage where it is none.
 */
export async function readJson(
  stream: Readable,
  { bytesMax, room, over }: { readonly bytesMax: number; readonly room: BodyRoom; readonly over: AbortSignal },
): Promise<Readonly<Record<string, unknown>>> {
  const share = room.enter();
  over.addEventListener("abort", share.leave, { once: true });
  const bytes = await gather(stream.iterator({ destroyOnReturn: false }), bytesMax, (held) => {
    if (over.aborted || !share.hasRoomFor(held)) throw new ModelFault("crowded", "too many large questions at once");
  });
  return questionIn(bytes);
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
