/** What each handler of an operation gets, and what it may answer: worked out from the table of operations, so that neither can be forgotten. */
import type { Json } from "@openclaw-cluster/contract/json";
import type { OPERATIONS, OperationName } from "@openclaw-cluster/contract/operations";
import type { z } from "zod";
import type { Coordinator, Peer } from "../coordinator/coordinator.ts";
import type { Reader } from "../core/visibility.ts";
import type { ModelSight } from "../models/models.ts";
import type { ApiTokenRow } from "../store/store.ts";

type Operations = typeof OPERATIONS;
type Part<N extends OperationName, P extends "params" | "query" | "body"> = Operations[N] extends {
  readonly [K in P]: infer S extends z.ZodType;
}
  ? z.output<S>
  : undefined;

export interface Call<N extends OperationName> {
  readonly params: Part<N, "params">;
  readonly query: Part<N, "query">;
  readonly body: Part<N, "body">;
  /** Who asks, for the audit log; empty where the body itself proves it. */
  readonly actor: string;
  /** Who asks, as far as tasks are concerned. */
  readonly reader: Reader;
  /** Absent where the body itself proves who asks. */
  readonly token?: ApiTokenRow;
  /** Of requests for models; throws not_found where none come through. */
  sight(): ModelSight;
  /** The other end of the connection. */
  peer(): Peer;
  /** Where the body itself is the proof: to be called once it was found good (gate.ts). */
  readonly proven?: () => void;
  /** Aborts when the caller goes away or the server closes. */
  signal(): AbortSignal;
}

/** Operations with a way of their own: the hot route and the streams. */
export type OwnWay = "submit" | "events" | "logs";
type Frozen<T> = T extends readonly (infer E)[] ? readonly Frozen<E>[] : T;
type Reply<N extends OperationName> = {
  readonly [K in keyof z.output<Operations[N]["reply"]>]: Frozen<z.output<Operations[N]["reply"]>[K]>;
};
type Handle<N extends OperationName> = (coordinator: Coordinator, call: Call<N>) => Reply<N> | Promise<Reply<N>>;
export type Handlers = { readonly [N in Exclude<OperationName, OwnWay | "result">]: Handle<N> } & {
  readonly result: (coordinator: Coordinator, call: Call<"result">) => Promise<Json>;
};
