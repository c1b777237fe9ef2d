/**
 * Whom the people and the machines of a simulated cluster turn to: one coordinator's machine (head.ts), or several control nodes
 * (council.ts).
 */
import { ClusterError, type ErrorCode } from "@openclaw-cluster/contract/errors";
import type { ClusterId, NodeId } from "@openclaw-cluster/contract/ids";
import { asClusterError } from "../../../cluster/src/api/answers.ts";
import type { Coordinator } from "../../../cluster/src/coordinator/coordinator.ts";
import { silentLog } from "../../../cluster/src/system/log.ts";
import { keyFor } from "../../support/fake-keys.ts";
import type { PartyClock } from "./party-clock.ts";

export type Answer<T> =
  /** `old`: whoever answered has said that it may not be the present, or could not know. */
  | { readonly kind: "answered"; readonly value: T; readonly old?: boolean }
  | { readonly kind: "refused"; readonly code: ErrorCode }
  | { readonly kind: "unknown" };

export type Request<T> = (coordinator: Coordinator) => T | Promise<T>;

export interface AskOptions {
  readonly timeoutMs?: number;
  /** It can be answered from the store alone, by one that stands by. */
  readonly reads?: boolean;
}

export interface Front {
  /** Requests and answers are lost on their way to callers with this probability. */
  loss: number;
  /** Several answer. */
  readonly isMany: boolean;
  /** Of whoever leads. */
  readonly coordinator: Coordinator | undefined;
  start(): void;
  crash(): void;
  /** The trouble is over: what is broken is mended, what stands still goes on, what is dead starts. */
  mend(): void;
  /** One request over HTTP: it may not arrive, and its answer may not. */
  ask<T>(request: Request<T>, options?: AskOptions): Promise<Answer<T>>;
  /** nats-server's word that a node's process has ended. */
  disconnected(node: NodeId): void;
  /** Is there a bus that takes this node's connection? From then on it has it. */
  takes(node: NodeId): boolean;
  /** Shows the checker whether those who do not lead know who does, and what that one writes. */
  isKnown(): Promise<void>;
  /** How everybody stands, for whoever looks into a failure. */
  describe(): readonly string[];
}

export const REQUEST_MS = 10_000;
/** A worker asks again for its place after this. */
const ENROL_AGAIN_MS = 1_000;

export async function serve<T>(request: Request<T>, coordinator: Coordinator): Promise<Answer<T>> {
  try {
    return { kind: "answered", value: await request(coordinator) };
  } catch (error) {
    const { code } = asClusterError(error, silentLog);
    if (code === "internal" && !(error instanceof ClusterError)) throw error;
    return { kind: "refused", code };
  }
}

/** Lets a node in; asks until it is answered. */
export async function enrol(front: Front, id: NodeId, clock: PartyClock): Promise<ClusterId> {
  for (;;) {
    const answer = await front.ask((coordinator) => coordinator.enrol({ id, publicKey: keyFor(id) }));
    if (answer.kind === "answered") {
      await clock.passes(0);
      return answer.value.cluster as ClusterId;
    }
    await clock.passes(ENROL_AGAIN_MS);
  }
}
