/** Reads the body of a request for a model. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { ModelFault, QUESTION_BYTES_MAX, questionIn, RouteRefusal } from "../models/models.ts";
import { BodyRoom } from "../system/body-room.ts";
import { GrowingBytes } from "../system/growing-bytes.ts";

/** Of requests that are large, in memory at once, from their first byte to the end of their answer. */
const BODIES_BYTES_MAX = 64 * 1024 * 1024;
/** B1 in body-room.ts. */
const SMALL_BYTES_MAX = 64 * 1024;
const BODIES_AGAIN_MS = 2_000;

export interface ModelBodies {
  /** It counts as being in memory until the answer is over. Rejects with RouteRefusal. */
  read(incoming: IncomingMessage, outgoing: ServerResponse): Promise<Readonly<Record<string, unknown>>>;
}

export function openModelBodies(): ModelBodies {
  const room = new BodyRoom(BODIES_BYTES_MAX, SMALL_BYTES_MAX);
  return {
    async read(incoming, outgoing) {
      const share = room.enter();
      outgoing.once("close", share.leave);
      const bytes = await bytesOf(incoming, (held) => {
        if (held > QUESTION_BYTES_MAX) throw tooLarge();
        if (!share.hasRoomFor(held))
          throw new RouteRefusal(429, "overloaded", "Too many large requests at once.", { retryAfterMs: BODIES_AGAIN_MS });
      });
      try {
        return questionIn(bytes);
      } catch (error) {
        throw error instanceof ModelFault ? new RouteRefusal(400, "bad_request", error.message) : error;
      }
    },
  };
}

const tooLarge = (): RouteRefusal => new RouteRefusal(413, "request_too_large", `A request has at most ${QUESTION_BYTES_MAX} bytes.`);

/** Not `for await`: leaving that early would end the connection, and whoever sends would not hear why. */
function bytesOf(incoming: IncomingMessage, judge: (bytes: number) => void): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (Number(incoming.headers["content-length"] ?? 0) > QUESTION_BYTES_MAX) return reject(tooLarge());
    const whole = new GrowingBytes();
    incoming.on("data", (chunk: Buffer) => {
      try {
        judge(whole.length + chunk.length);
        whole.add(chunk);
      } catch (error) {
        incoming.removeAllListeners("data").pause();
        reject(error as Error);
      }
    });
    incoming.on("end", () => resolve(whole.all));
    const cut = (): void => reject(new RouteRefusal(400, "bad_request", "The body did not arrive whole."));
    incoming.on("error", cut).on("close", cut);
  });
}
