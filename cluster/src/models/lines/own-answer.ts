/**
 * A request that this node answers by itself, as whoever leads has decided (own-words.ts): the answer takes no way through another
 * machine, and goes on where the one that leads is lost meanwhile.
 */
import { PassThrough } from "node:stream";
import { lostEvent } from "../routing/first-token.ts";
import { hear } from "../routing/hearing.ts";
import type { AskingEnd, LineAnswer } from "./line.ts";
import { isStreamed, type ModelAnswer, type ModelQuestion, type ModelRequest, type RoutedAnswer } from "../models.ts";
import { failedWord, overWord, OWN_PREFIX, type Granted, type OwnWord } from "./own-words.ts";

/** Asks a server of this machine. Rejects with ModelFault. */
export type AskOwn = (question: ModelQuestion, signal: AbortSignal) => Promise<ModelAnswer>;

/** What came of it: its answer, or what whoever leads says next where its server did not answer. */
export type OwnOutcome =
  | { readonly kind: "answered"; readonly answer: RoutedAnswer }
  | { readonly kind: "elsewhere"; readonly said: LineAnswer };

export async function answerOwn(
  { second, model, endpoint, ...told }: Granted,
  request: ModelRequest,
  { line, ask, node }: { readonly line: Pick<AskingEnd, "ask">; readonly ask: AskOwn; readonly node: string },
  signal: AbortSignal,
): Promise<OwnOutcome> {
  const words = new PassThrough();
  const tell = (word: OwnWord): void => void (words.writableEnded || words.write(`${JSON.stringify(word)}\n`));
  const next = line.ask({ path: `${OWN_PREFIX}${second}`, headers: {}, body: words }, signal);
  // Where it is not waited for, it is of no matter: the line may end before this answer does.
  next.catch(() => undefined);
  const streams = isStreamed(request);
  const { path, body } = request;
  try {
    const answer = await ask({ path, model, endpoint, body }, signal);
    const heard = await hear(answer, {
      streams,
      errorEvent: (fault) => lostEvent(`the server of this machine, which was answering for ${model}, failed: ${fault.message}`),
      over(over) {
        tell(overWord(over));
        words.end();
      },
    });
    if (streams && heard.status < 300) tell({ kind: "begun" });
    return { kind: "answered", answer: { ...heard, node, model, ...told } };
  } catch (error) {
    if (signal.aborted) throw error;
    tell(failedWord(error));
    words.end();
    return { kind: "elsewhere", said: await next };
  }
}
