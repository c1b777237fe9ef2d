/**
 * A node's requests for models, over its line to whoever leads; and whoever leads, answering them.
 *
 * A1. Who asks is the node that has opened the line, whatever a request says of itself.
 * A2. A stream that is cut with the line ends with an error event, as one that is cut at its node (R4 in router.ts).
 */
import { Readable, type Duplex } from "node:stream";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { LentModel } from "@openclaw-cluster/contract/models";
import { LINE_BYTES_MAX, LIST } from "./lending.ts";
import { lostEvent, passOn, type Passing } from "./first-token.ts";
import { QuestionRoom, readJson, readWhole } from "./line-body.ts";
import { answerOver, askOver, type LineAnswer, type LineEnd } from "./line.ts";
import {
  MODEL_PATHS,
  ModelFault,
  QUESTION_BYTES_MAX,
  RouteRefusal,
  type ModelAsker,
  type ModelRequest,
  type ModelRouter,
  type RoutedAnswer,
} from "./models.ts";
import { eachOf } from "./reading.ts";

const CROWDED_AGAIN_MS = 2_000;
const LIST_BYTES_MAX = 4 * 1024 * 1024;
const MESSAGE_BYTES_MAX = 64 * 1024;
const MESSAGE_CHARS_MAX = MESSAGE_BYTES_MAX / 4;
const REFUSAL = "x-refusal";
const EVENTS = "text/event-stream";

/** The end of whoever leads. */
export function answerAsker(socket: Duplex, router: ModelRouter, asker: ModelAsker): LineEnd {
  const room = new QuestionRoom(LINE_BYTES_MAX);
  return answerOver(socket, async ({ path, headers, body }, gone) => {
    try {
      if (path === LIST) return plain(200, "application/json", JSON.stringify(await router.list()));
      const known = MODEL_PATHS.find((one) => one === path);
      if (known === undefined) throw new RouteRefusal(404, "unknown_url", `There is no ${path} here.`);
      const asked = await readJson(body, { bytesMax: QUESTION_BYTES_MAX, room, over: gone });
      const answer = await router.answer({ path: known, body: asked, asker, ...wishesIn(headers) }, gone);
      const { status, contentType, node, model, attempts, body: said } = answer;
      return {
        status,
        headers: {
          ...{ "content-type": contentType, "x-attempts": String(attempts) },
          ...(node !== undefined && { "x-node": node }),
          ...(model !== undefined && { "x-model": model }),
        },
        body: said,
      };
    } catch (error) {
      if (error instanceof RouteRefusal) return refused(error);
      if (error instanceof ModelFault && error.kind === "garbage") return refused(new RouteRefusal(400, "bad_request", error.message));
      if (error instanceof ModelFault && error.kind === "crowded")
        return refused(new RouteRefusal(429, "overloaded", error.message, { retryAfterMs: CROWDED_AGAIN_MS }));
      if (error instanceof ModelFault && error.kind === "too_large")
        return refused(new RouteRefusal(413, "request_too_large", error.message));
      throw error;
    }
  });
}

type Wishes = Pick<ModelRequest, "session" | "lane" | "on">;

const headersOf = ({ session, lane, on }: Wishes): Record<string, string> => ({
  "x-lane": lane,
  ...(session !== undefined && { "x-session": session }),
  ...(on !== undefined && { "x-on": on }),
});

/** What an older build does not say is as if nothing were wished. */
function wishesIn({ "x-session": session, "x-lane": lane, "x-on": on }: LineAnswer["headers"]): Wishes {
  if (on !== undefined && !NodeId.safeParse(on).success) throw new RouteRefusal(400, "bad_request", `${on} is no name of a node.`);
  return {
    lane: lane === "batch" ? lane : "interactive",
    ...(session !== undefined && { session }),
    ...(on !== undefined && { on: on as NodeId }),
  };
}

const plain = (status: number, type: string, text: string): LineAnswer => ({
  status,
  headers: { "content-type": type },
  body: Readable.from([Buffer.from(text)]),
});

function refused({ status, code, message, retryAfterMs, attempts }: RouteRefusal): LineAnswer {
  const more = retryAfterMs === undefined ? {} : { "x-retry-after-ms": String(Math.ceil(retryAfterMs)) };
  return {
    ...plain(status, "text/plain", message.slice(0, MESSAGE_CHARS_MAX)),
    headers: { [REFUSAL]: code, "x-attempts": String(attempts), ...more },
  };
}

/** The node's end: the cluster's router, as far away as it is. */
export function routerOver(socket: Duplex): ModelRouter & LineEnd {
  const line = askOver(socket);
  return {
    ended: line.ended,
    close: () => line.close(),
    async list() {
      const answer = await line.ask({ path: LIST, headers: {} }, new AbortController().signal);
      const { [REFUSAL]: code } = answer.headers;
      if (code !== undefined) throw await refusalOf(code, answer);
      const told = JSON.parse((await readWhole(answer.body, LIST_BYTES_MAX)).toString()) as unknown;
      // One that a newer build tells of in a new way does not hide the others.
      return eachOf(LentModel).parse(told);
    },
    async answer({ path, body, ...wishes }, signal): Promise<RoutedAnswer> {
      const answer = await line.ask({ path, headers: headersOf(wishes), body: JSON.stringify(body) }, signal);
      const {
        [REFUSAL]: code,
        "x-node": node,
        "x-model": model,
        "x-attempts": attempts = "0",
        "content-type": contentType = "",
      } = answer.headers;
      if (code !== undefined) throw await refusalOf(code, answer);
      const said = contentType.startsWith(EVENTS) ? passOn(answer.body, cut, UNHEARD) : answer.body;
      return { status: answer.status, contentType, body: said, attempts: Number(attempts), ...named(node, model) };
    },
  };
}

/** A2. */
const cut = (fault: ModelFault): string => lostEvent(`the connection to the control node that leads was lost: ${fault.message}`);
const UNHEARD: Passing = { events: () => undefined, over: () => undefined };

const named = (node: string | undefined, model: string | undefined): Pick<RoutedAnswer, "node" | "model"> => ({
  ...(node !== undefined && { node }),
  ...(model !== undefined && { model }),
});

async function refusalOf(code: string, { status, headers, body }: LineAnswer): Promise<Error> {
  const message = (await readWhole(body, MESSAGE_BYTES_MAX)).toString();
  const retryAfterMs = Number(headers["x-retry-after-ms"]);
  if (!Number.isInteger(status)) return new ModelFault("garbage", message);
  return new RouteRefusal(status, code, message, { attempts: Number(headers["x-attempts"]), ...(retryAfterMs > 0 && { retryAfterMs }) });
}
