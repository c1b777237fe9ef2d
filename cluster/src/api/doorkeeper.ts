/**
 * Turns requests away before anything is spent on them: no route, no Request, no body. A flood consists of these, so what
 * one costs decides how large a flood can be answered at all.
 *
 * T1. That the coordinator is overloaded is told to those who have passed the gate; a stranger is told what the gate says.
 * T2. A connection beyond the limit gets one answer, whatever it asks.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { OPERATIONS } from "@openclaw-cluster/contract/operations";
import type { Coordinator } from "../coordinator/coordinator.ts";
import type { Clock } from "../system/clock.ts";
import { problemHeaders, problemText } from "./answers.ts";
import { isSending, refuseUnread } from "./body.ts";
import type { Surplus } from "./connections.ts";
import type { Gate } from "./gate.ts";

const SUBMIT = OPERATIONS.submit;
const SUBMIT_PATH = `/api/v1${SUBMIT.path}`;

interface DoorkeeperParts {
  readonly coordinator: Pick<Coordinator, "admission">;
  readonly gate: Gate;
  readonly surplus: Surplus;
  readonly clock: Clock;
}

/** True: it is answered. */
export type TurnAway = (incoming: IncomingMessage, outgoing: ServerResponse) => boolean;

export function openDoorkeeper({ coordinator, gate, surplus, clock }: DoorkeeperParts): TurnAway {
  const { admission } = coordinator;
  let words: Words | undefined;

  return (incoming, outgoing) => {
    const full = surplus.refusal(incoming);
    if (full !== undefined) {
      refuseUnread(outgoing, full, clock);
      return true;
    }
    if (incoming.method !== "POST" || incoming.url !== SUBMIT_PATH || !admission.isFull) return false;
    const error = refusalOf(incoming);
    if (error === undefined) return false;
    if (isSending(incoming)) {
      refuseUnread(outgoing, error, clock);
    } else {
      if (words?.error !== error) words = wordsOf(error);
      outgoing.writeHead(error.row.status, words.headers).end(words.text);
    }
    return true;
  };

  /** T1. */
  function refusalOf(incoming: IncomingMessage): ClusterError | undefined {
    try {
      return admission.refusal(gate.admit(incoming, SUBMIT.scope).id);
    } catch (thrown) {
      if (thrown instanceof ClusterError) return thrown;
      throw thrown;
    }
  }
}

/** One error is told to thousands. */
interface Words {
  readonly error: ClusterError;
  readonly text: string;
  readonly headers: Readonly<Record<string, string | number>>;
}

function wordsOf(error: ClusterError): Words {
  const text = problemText(error);
  return { error, text, headers: { ...problemHeaders(error), "content-length": Buffer.byteLength(text) } };
}
