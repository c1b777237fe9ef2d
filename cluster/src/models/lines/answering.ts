/**
 * Whoever leads, answering a node's requests for models, which come over the node's line (asking.ts).
 *
 * A1. Who asks is the node that has opened the line, whatever a request says of itself.
 */
import type { Duplex } from "node:stream";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { BodyRoom } from "../../system/body-room.ts";
import type { Clock } from "../../system/clock.ts";
import { randomId } from "../../system/random-id.ts";
import { answerOf, plain, refused, wishesIn } from "./asking-words.ts";
import { LINE_BYTES_MAX, LIST, SMALL_BYTES_MAX } from "./lending.ts";
import { readJson } from "./line-body.ts";
import { answerOver, type LineEnd } from "./line.ts";
import { MODEL_PATHS, ModelFault, QUESTION_BYTES_MAX, RouteRefusal, type ModelAsker, type ModelRouter } from "../models.ts";
import { OwnTalk } from "./own-talk.ts";
import { OFFER, OWN_PREFIX } from "./own-words.ts";

const CROWDED_AGAIN_MS = 2_000;

export interface AskerParts {
  readonly router: ModelRouter;
  readonly asker: ModelAsker;
  /** A1: it may be told to answer by itself. */
  readonly node: NodeId;
  readonly clock: Clock;
}

export function answerAsker(socket: Duplex, { router, asker, node, clock }: AskerParts): LineEnd {
  const room = new BodyRoom(LINE_BYTES_MAX, SMALL_BYTES_MAX);
  const talks = new Map<string, OwnTalk>();
  return answerOver(socket, async ({ path, headers, body }, gone) => {
    try {
      if (path === LIST) return plain(200, "application/json", JSON.stringify(await router.list()));
      if (path.startsWith(OWN_PREFIX)) return await (talks.get(path.slice(OWN_PREFIX.length))?.follow(body, gone) ?? unknown(path));
      const known = MODEL_PATHS.find((one) => one === path) ?? unknown(path);
      const ask = async (over: AbortSignal, own?: OwnTalk) => {
        const asked = await readJson(body, { bytesMax: QUESTION_BYTES_MAX, room, over });
        return router.answer({ path: known, body: asked, asker, ...wishesIn(headers), ...(own !== undefined && { own }) }, over);
      };
      if (headers[OFFER] === undefined) return answerOf(await ask(gone));
      const id = randomId();
      const talk = new OwnTalk(node, id, clock);
      talks.set(id, talk);
      talk.gone.addEventListener("abort", () => talks.delete(id), { once: true });
      const said = talk.hear(gone);
      ask(talk.gone, talk).then(
        (answer) => answer.isOwn === true || talk.say(answerOf(answer)),
        (error: unknown) => talk.fail(error),
      );
      return await said;
    } catch (error) {
      return refused(refusalFor(error));
    }
  });
}

function unknown(path: string): never {
  throw new RouteRefusal(404, "unknown_url", `There is no ${path} here.`);
}

/** Throws what nobody foresaw. */
function refusalFor(error: unknown): RouteRefusal {
  if (error instanceof RouteRefusal) return error;
  if (!(error instanceof ModelFault)) throw error;
  switch (error.kind) {
    case "garbage":
      return new RouteRefusal(400, "bad_request", error.message);
    case "crowded":
      return new RouteRefusal(429, "overloaded", error.message, { retryAfterMs: CROWDED_AGAIN_MS });
    case "too_large":
      return new RouteRefusal(413, "request_too_large", error.message);
    default:
      throw error;
  }
}
