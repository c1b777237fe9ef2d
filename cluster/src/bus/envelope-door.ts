/** What a bus asks of its envelopes (envelopes.ts), how it tells and asks with them, and the bus in memory's own, which are none. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Stamp } from "../trust/envelope.ts";
import type { Life, SharedKey } from "../trust/life.ts";
import type { Refusal, RefusalListener } from "./bus.ts";

/** A message that was sent, until its answer comes. */
export interface Question {
  readonly peer: string;
  readonly stamp: Stamp;
  readonly toLife: Life | undefined;
  readonly shared: SharedKey | undefined;
}

export interface Sealed {
  readonly bytes: Uint8Array;
  readonly question: Question;
}

export type Read =
  | { readonly kind: "message"; readonly body: Uint8Array; answer(body: Uint8Array): Uint8Array }
  /** `challenge`: to be sent in the answer's place. */
  | { readonly kind: "refused"; readonly why: Refusal; readonly challenge?: Uint8Array };

export type Answer =
  | { readonly kind: "answer"; readonly body: Uint8Array }
  /** Seal it again, and send that. */
  | { readonly kind: "again" }
  | { readonly kind: "refused"; readonly why: Refusal };

export interface Envelopes {
  /** Do the lives at both ends know each other? Else a message of this subject may have to be said twice. */
  knows(subject: string): boolean;
  seal(subject: string, body: Uint8Array): Sealed;
  read(subject: string, bytes: Uint8Array): Read;
  readAnswer(question: Question, bytes: Uint8Array): Answer;
  /** Returns how to stop. */
  onRefusal(listener: RefusalListener): () => void;
}

/** How often a party may turn out to live another life, while one and the same thing is said to it. */
const AGAIN_MAX = 3;

/** Says it until the party answers that it is meant for. Throws what `send` throws, and bus_unreachable when nobody who may answer does. */
export async function ask(
  envelopes: Envelopes,
  subject: string,
  body: Uint8Array,
  send: (bytes: Uint8Array) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  for (let times = 0; times < AGAIN_MAX; times += 1) {
    const { bytes, question } = envelopes.seal(subject, body);
    const answer = envelopes.readAnswer(question, await send(bytes));
    if (answer.kind === "answer") return answer.body;
    if (answer.kind === "refused")
      throw new ClusterError("bus_unreachable", `${subject}: the answer is not from whom was asked (${answer.why})`);
  }
  throw new ClusterError("bus_unreachable", `${subject}: who was asked began another life each time`);
}

/** To a party that was not heard yet, something that needs no answer. */
const FIRST_WORD_MS = 5_000;

/** Where the lives at both ends do not know each other yet it is a question, so that it is not lost for that alone; its answer is of no matter. */
export function tell(
  envelopes: Envelopes,
  subject: string,
  body: Uint8Array,
  way: { publish(bytes: Uint8Array): void; request(bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> },
): void {
  if (envelopes.knows(subject)) way.publish(envelopes.seal(subject, body).bytes);
  else ask(envelopes, subject, body, (bytes) => way.request(bytes, FIRST_WORD_MS)).catch(() => undefined);
}

const NO_QUESTION: Question = { peer: "", stamp: { life: "", number: 0 }, toLife: undefined, shared: undefined };

/** For the bus in memory: nobody is there who could lie. */
export function plainEnvelopes(): Envelopes {
  return {
    knows: () => true,
    seal: (_subject, bytes) => ({ bytes, question: NO_QUESTION }),
    read: (_subject, body) => ({ kind: "message", body, answer: (answer) => answer }),
    readAnswer: (_question, body) => ({ kind: "answer", body }),
    onRefusal: () => () => undefined,
  };
}
