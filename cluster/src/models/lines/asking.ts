/**
 * A node's requests for models, over its line to whoever leads (answering.ts).
 *
 * A1. A stream that is cut with the line ends with an error event, as one that is cut at its node (R4 in router.ts).
 * A2. What whoever leads says this node shall answer, it answers by itself.
 */
import type { Duplex } from "node:stream";
import { LentModel } from "@openclaw-cluster/contract/models";
import { answerIn, headersOf, throwIfRefused } from "./asking-words.ts";
import { lostEvent, passOn, type Passing } from "../routing/first-token.ts";
import { LIST } from "./lending.ts";
import { readWhole } from "./line-body.ts";
import { askOver, type LineEnd } from "./line.ts";
import type { ModelFault, ModelRouter, RoutedAnswer } from "../models.ts";
import { answerOwn, type AskOwn } from "./own-answer.ts";
import { grantIn, OFFER } from "./own-words.ts";
import { eachOf } from "../servers/reading.ts";

const LIST_BYTES_MAX = 4 * 1024 * 1024;
/** Grants one after another; each was another place, of which this node has few. */
const GRANTS_MAX = 16;
const EVENTS = "text/event-stream";

/** This node, and how its own servers are asked. */
export interface OwnEnd {
  readonly node: string;
  readonly ask: AskOwn;
}

/** The cluster's router, as far away as it is. Without `own` it is never told to answer by itself. */
export function routerOver(socket: Duplex, own?: OwnEnd): ModelRouter & LineEnd {
  const line = askOver(socket);
  return {
    ended: line.ended,
    close: () => line.close(),
    async list() {
      const answer = await line.ask({ path: LIST, headers: {} }, new AbortController().signal);
      await throwIfRefused(answer);
      const told = JSON.parse((await readWhole(answer.body, LIST_BYTES_MAX)).toString()) as unknown;
      // One that a newer build tells of in a new way does not hide the others.
      return eachOf(LentModel).parse(told);
    },
    async answer(request, signal): Promise<RoutedAnswer> {
      const headers = { ...headersOf(request), ...(own !== undefined && { [OFFER]: "1" }) };
      let said = await line.ask({ path: request.path, headers, body: JSON.stringify(request.body) }, signal);
      for (let grants = 0; own !== undefined && grants < GRANTS_MAX; grants++) {
        const grant = grantIn(said.headers);
        if (grant === undefined) break;
        const outcome = await answerOwn(grant, request, { ...own, line }, signal);
        if (outcome.kind === "answered") return outcome.answer;
        ({ said } = outcome);
      }
      const answer = await answerIn(said);
      return answer.contentType.startsWith(EVENTS) ? { ...answer, body: passOn(answer.body, cut, UNHEARD) } : answer;
    },
  };
}

/** A1. */
const cut = (fault: ModelFault): string => lostEvent(`the connection to the control node that leads was lost: ${fault.message}`);
const UNHEARD: Passing = { events: () => undefined, over: () => undefined };
