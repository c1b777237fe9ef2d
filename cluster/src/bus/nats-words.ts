/**
 * The word that stands in the subjects of a node's output and blobs, and that only this node and the coordinator know.
 *
 * nats-server looks at no reply subject: whoever may write into a stream of its own can have the stream's acknowledgement sent
 * wherever it likes, so also where another node's stream listens. That one would take it in: as the end of a blob, or among
 * output until it pushes real output out. Where nobody can name a subject that another's stream takes, this cannot be.
 *
 * W1. A word is the same for as long as the coordinator's key is; a node asks for it once, and streams that are made again
 *     take what is on its way to them.
 * W2. It stands in no name that is told to anybody: neither in a result's nor in the API's.
 */
import { createHmac } from "node:crypto";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { z } from "zod";

/** Beyond guessing: 132 bits. */
const WORD_CHARS = 22;

export interface Words {
  /** Throws what the way to the coordinator throws. */
  of(node: NodeId): Promise<string>;
}

/** The coordinator's own key makes them, so that there is nothing to keep. */
export function wordFor(coordinatorSeed: Uint8Array, node: NodeId): string {
  return createHmac("sha256", coordinatorSeed).update(`openclaw-cluster word of ${node}`).digest("base64url").slice(0, WORD_CHARS);
}

const Answer = z.object({ word: z.string().regex(/^[A-Za-z0-9_-]{22}$/) });
export type WordAnswer = z.infer<typeof Answer>;

/** A node's: `ask` asks the coordinator. */
export function askedWord(ask: () => Promise<unknown>): Words {
  let word: Promise<string> | undefined;
  const first = async (): Promise<string> => {
    const answer = Answer.safeParse(await ask());
    if (!answer.success) throw new ClusterError("internal", "the coordinator's answer holds no word for this node's output");
    return answer.data.word;
  };
  return {
    of() {
      word ??= first().catch((error: unknown) => {
        word = undefined;
        throw error;
      });
      return word;
    },
  };
}
