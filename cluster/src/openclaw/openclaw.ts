/**
 * The door to the OpenClaw Gateway of this machine. Everything OpenClaw-specific (protocol, methods, quirks) stays
 * behind it; what was tried against the real Gateway is in docs/openclaw.md.
 */
import type { Json } from "@openclaw-cluster/contract/json";
import type { NodeModel, NodeSkill } from "@openclaw-cluster/contract/node";

export interface Inventory {
  readonly version: string;
  readonly agents: readonly string[];
  readonly models: readonly NodeModel[];
  readonly skills: readonly NodeSkill[];
}

export interface Turn {
  /** Chosen by us; the same id again reattaches to the same run, or gives its end. */
  readonly runId: string;
  readonly message: string;
  readonly agent?: string;
  readonly sessionKey: string;
  readonly model?: string;
  readonly thinking?: string;
  readonly timeoutMs: number;
  /**
   * Asked right before the run is begun, and once about a run that was found running before anything was begun here. undefined:
   * yes; else why not.
   */
  permit(step: TurnStep): string | undefined;
}

export type TurnStep = "begin" | "go_on";

export type TurnEvent =
  | { readonly kind: "text"; readonly delta: string }
  | { readonly kind: "tool"; readonly phase: "start" | "result"; readonly name: string; readonly callId: string; readonly data?: Json };

export type TurnEnd =
  | {
      readonly kind: "done";
      readonly text: string;
      readonly meta: { model?: string; provider?: string; sessionKey: string; usage?: Json; toolCalls?: number };
    }
  | { readonly kind: "aborted" }
  /** It was not permitted. `ran`: it was found running, and is stopped; else nothing of it is known to have begun. */
  | { readonly kind: "denied"; readonly reason: string; readonly ran: boolean }
  | {
      readonly kind: "failed";
      /**
       * `gateway_unreachable`: it was lost while the turn ran, and nobody knows how the turn ended. `throttled`: the
       * model's provider wants less; a failure that nobody listened to is `agent_failed` whatever its cause.
       */
      readonly code: "agent_failed" | "run_timeout" | "gateway_unreachable" | "throttled";
      readonly message: string;
      /** OpenClaw's word for what was wrong with the model. */
      readonly reason?: string;
      readonly retryAfterMs?: number;
    };

export interface Gateway {
  readonly reachable: boolean;
  /** The agent that a turn without one is for. */
  readonly defaultAgent: string;
  onStatus(listener: (reachable: boolean) => void): { stop(): void };
  /** Throws ClusterError gateway_unreachable. */
  inventory(): Promise<Inventory>;
  /**
   * Runs a turn, or reattaches to one that runs under the same id, also across a restart of the Gateway's connection.
   * Aborting the signal aborts the run in the Gateway and closes the model's request. Throws ClusterError
   * gateway_unreachable (never accepted) or gateway_refused.
   */
  turn(turn: Turn, signal: AbortSignal, onEvent: (event: TurnEvent) => void): Promise<TurnEnd>;
  /** `/tools/invoke`. Throws gateway_unreachable, gateway_refused or tool_failed. */
  invokeTool(
    call: { tool: string; args: Json; agent?: string; sessionKey?: string; idempotencyKey: string },
    signal: AbortSignal,
  ): Promise<Json>;
  close(): Promise<void>;
}
