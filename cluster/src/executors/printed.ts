/** What a program prints, on its way to the attempt's output: decoded, counted, and its end kept. */
import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import type { Execution } from "./executors.ts";

/** Counts the bytes of a stream and keeps the last of them. */
export class Capture {
  bytes = 0;
  private readonly tailBytesMax: number;
  private kept: Buffer = Buffer.alloc(0);

  constructor(tailBytesMax: number) {
    this.tailBytesMax = tailBytesMax;
  }

  add(chunk: Buffer): void {
    this.bytes += chunk.length;
    // A copy, so that the tail does not hold a whole pipe buffer.
    this.kept = Buffer.concat([this.kept, chunk.subarray(-this.tailBytesMax)]).subarray(-this.tailBytesMax);
  }

  tail(): string {
    // The cut may have left the end of a character at the front.
    let start = 0;
    while (start < 3 && ((this.kept[start] ?? 0) & 0xc0) === 0x80) start++;
    return this.kept.subarray(this.bytes > this.tailBytesMax ? start : 0).toString("utf8");
  }
}

/** Reads the stream to its end, no faster than `output` takes it. */
export async function pump(
  stream: Readable,
  name: "stdout" | "stderr",
  capture: Capture,
  execution: Pick<Execution, "output" | "log" | "offer">,
): Promise<void> {
  const decoder = new StringDecoder("utf8");
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      capture.add(chunk);
      const text = decoder.write(chunk);
      if (text !== "") await execution.output(name, text);
    }
    const rest = decoder.end();
    if (rest !== "") await execution.output(name, rest);
  } catch (error) {
    // The executor itself closes the pipe when it stops waiting for it.
    if ((error as NodeJS.ErrnoException).code === "ERR_STREAM_PREMATURE_CLOSE") return;
    execution.log.warn({ task: execution.offer.task, err: error }, "reading a command's output failed");
  }
}
