/**
 * The way to a cluster for every program: command line, dashboard, plugin, benchmark. Each operation of the table is a
 * method under its own name that takes its fields in one object; submits, streams and waiting for ends have more to
 * them. Errors are ClusterErrors with the coordinator's code.
 */
import type { z } from "zod";
import type { ClusterEvent } from "../events.ts";
import type { TaskId } from "../ids.ts";
import type { Operation } from "../operation.ts";
import { OPERATIONS, type OperationName } from "../operations.ts";
import type { Explanation } from "../placement.ts";
import type { Submitted } from "../task.ts";
import type { TaskSpec } from "../task-spec.ts";
import type { OutputChunk } from "../wire.ts";
import { openAddresses } from "./addresses.ts";
import { call, type Line } from "./call.ts";
import { chat, type ChatPiece, type ChatRequest } from "./chat.ts";
import { Follower, type Ended } from "./follower.ts";
import { parseData, resumable } from "./resume.ts";
import { RETRY_MANY } from "./retry.ts";
import { Submits } from "./submits.ts";
import type { Transport } from "./transport.ts";

type Operations = typeof OPERATIONS;
type Part<N extends OperationName, P extends string> = Operations[N] extends { readonly [K in P]: infer S extends z.ZodType }
  ? z.output<S>
  : unknown;
/** Path, query and body in one object; whatever has a default may be left out. */
type Fields<N extends OperationName> = Part<N, "params"> & Partial<Part<N, "query">> & Part<N, "body">;
type Answer<N extends OperationName> = z.output<Operations[N]["reply"]>;
type Call<N extends OperationName> =
  {} extends Fields<N>
    ? (fields?: Fields<N>, options?: { signal?: AbortSignal }) => Promise<Answer<N>>
    : (fields: Fields<N>, options?: { signal?: AbortSignal }) => Promise<Answer<N>>;

/** Operations that are methods of their own. */
type Own = "submit" | "events" | "logs";
type Calls = { readonly [N in Exclude<OperationName, Own>]: Call<N> };

export interface EventOptions {
  readonly task?: TaskId;
  readonly types?: readonly ("task" | "progress" | "node")[];
  /** Only the ends of tasks. */
  readonly terminal?: boolean;
  /** Go on after this event instead of from now. */
  readonly after?: number;
  readonly signal?: AbortSignal;
}

export interface LogOptions {
  /** Go on until the task ends. */
  readonly follow?: boolean;
  readonly attempt?: number;
  readonly signal?: AbortSignal;
}

export interface Client extends Calls {
  /** All submits of one turn go out together. A key of your own makes this one go alone; `dedupeKey` in the spec does not. */
  submit(spec: TaskSpec, options?: { idempotencyKey?: string }): Promise<Submitted>;
  /** In order. Up to 1,000 tasks are made all or none; one bad spec fails the call. */
  submitMany(specs: readonly TaskSpec[]): Promise<Submitted[]>;
  /** Where it would run now. */
  plan(specs: readonly TaskSpec[]): Promise<Explanation[]>;
  /** Submits and waits for the end, whatever it is: a failed task is an answer, not an error. */
  run(spec: TaskSpec): Promise<Ended>;
  runMany(specs: readonly TaskSpec[]): Promise<Ended[]>;
  /** Goes on by itself after a broken connection; a `gap` event says that some are missing. */
  events(options?: EventOptions): AsyncIterable<ClusterEvent>;
  /** What the task printed; goes on by itself after a broken connection. */
  logs(id: TaskId, options?: LogOptions): AsyncIterable<OutputChunk>;
  /** Asks a model of the cluster, once, and gives its answer piece by piece. */
  chat(request: ChatRequest, options?: { signal?: AbortSignal }): AsyncIterable<ChatPiece>;
  /** Ends every stream and connection; what still waits is rejected. */
  close(): Promise<void>;
}

/** `urls`: the addresses of one cluster, likeliest first; any of its control nodes serves. */
export type ClientOptions = { readonly token?: string; readonly transport: Transport } & (
  | { readonly url: string }
  | { readonly urls: readonly string[] }
);

/** Without a token only what proves itself can be asked (join, session). */
export function openClient({ token, transport, ...where }: ClientOptions): Client {
  const closing = new AbortController();
  const urls = "urls" in where ? where.urls : [where.url];
  const channel = openAddresses(urls, transport);
  const line: Line = { channel, token, closed: closing.signal, heard: false, ...(urls.length > 1 && { retry: RETRY_MANY }) };
  const submits = new Submits(line);
  const follower = new Follower(line);

  async function* events({ after, signal, types, ...query }: EventOptions = {}): AsyncGenerator<ClusterEvent> {
    const path = `/events${queryText({ ...query, types: types?.join(",") })}`;
    for await (const some of resumable(line, path, { lastId: after?.toString(), signal })) {
      for (const event of some) yield parseData(event) as ClusterEvent;
    }
  }

  async function* logs(id: TaskId, { signal, ...query }: LogOptions = {}): AsyncGenerator<OutputChunk> {
    for await (const some of resumable(line, `/tasks/${id}/logs${queryText(query)}`, { signal })) {
      for (const event of some) yield parseData(event) as OutputChunk;
    }
  }

  return {
    ...calls(line),
    submit: (spec, options) => (options?.idempotencyKey === undefined ? submits.one(spec) : submits.keyed(spec, options.idempotencyKey)),
    submitMany: (specs) => submits.many(specs),
    plan: async (specs) =>
      ((await call(line, "POST", "/tasks?plan=true", { safe: true, body: JSON.stringify({ tasks: specs }) })) as { plans: Explanation[] })
        .plans,
    run: async (spec) => {
      const [ended] = await follower.follow(async () => [await submits.one(spec)]);
      return ended as Promise<Ended>;
    },
    runMany: async (specs) => Promise.all(await follower.follow(() => submits.many(specs))),
    events,
    logs,
    chat: (request, options) => chat(line, request, options?.signal),
    close: () => {
      closing.abort();
      line.channel.close();
      return Promise.resolve();
    },
  };
}

function calls(line: Line): Calls {
  const plain = Object.entries<Operation>(OPERATIONS).filter(([name, { stream }]) => name !== "submit" && stream !== true);
  // Built from the table that the type is built from.
  return Object.fromEntries(plain.map(([name, operation]) => [name, operationCall(line, operation)])) as unknown as Calls;
}

function operationCall(line: Line, { method, path, body, takesMs = 0 }: Operation) {
  const names = Array.from(path.matchAll(/\{(\w+)\}/g), ([, name]) => name as string);
  return (fields: Readonly<Record<string, unknown>> = {}, { signal }: { signal?: AbortSignal } = {}): Promise<unknown> => {
    const rest = Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
    const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(fields[name])));
    return call(line, method.toUpperCase() as Uppercase<typeof method>, filled + (body === undefined ? queryText(rest) : ""), {
      safe: method === "get",
      signal,
      waitMs: typeof rest["wait"] === "number" ? rest["wait"] * 1_000 : takesMs,
      ...(body !== undefined && { body: JSON.stringify(rest) }),
    });
  };
}

function queryText(fields: Readonly<Record<string, unknown>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) query.append(name, String(one));
  }
  return query.size === 0 ? "" : `?${query.toString()}`;
}
