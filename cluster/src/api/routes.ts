/**
 * Mounts the operation table. Each route is one handler behind the gate, without middleware, so that Hono calls it
 * directly.
 *
 * R1. An operation without a handler or a known scope stops the start: nothing is served by accident or unguarded.
 * R2. Every path, known or not, is behind the token, but the bare /healthz, and operations whose body is itself the proof.
 * R3. Methods are an allow-list: what is not in the table is refused, HEAD and OPTIONS included.
 * R4. What the table refuses for tasks of others is refused here, before a handler sees it; and an operation on tasks, or on
 *     requests for models, that does not say what becomes of others' stops the start.
 */
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import type { HttpBindings } from "@hono/node-server";
import { ClusterError, toProblem } from "@openclaw-cluster/contract/errors";
import type { Operation } from "@openclaw-cluster/contract/operation";
import { OPERATIONS, type OperationName } from "@openclaw-cluster/contract/operations";
import { Scope } from "@openclaw-cluster/contract/scopes";
import { Hono, type Context } from "hono";
import type { z } from "zod";
import type { Coordinator, Peer } from "../coordinator/coordinator.ts";
import { readerOf, type Reader } from "../core/visibility.ts";
import type { ModelSight } from "../models/models.ts";
import type { ApiTokenRow } from "../store/store.ts";
import type { Clock } from "../system/clock.ts";
import { failpoint, isArmed } from "../system/failpoint.ts";
import type { Log } from "../system/log.ts";
import { asClusterError, json, problem, text } from "./answers.ts";
import { isSending, refuseForm, refuseUnread, type Bodies } from "./body.ts";
import { check, checkBody } from "./check.ts";
import { streamEvents, type EventQuery } from "./event-stream.ts";
import type { Gate, Judge } from "./gate.ts";
import type { Call, OwnWay } from "./handler.ts";
import { HANDLERS } from "./handlers.ts";
import { streamLogs, type LogQuery } from "./log-stream.ts";
import { metrics } from "./metrics.ts";
import { sightOf } from "./model-handlers.ts";
import { modelMetrics } from "./model-metrics.ts";
import { openApiDocument } from "./openapi.ts";
import { ownership } from "./ownership.ts";
import { event, type Streams } from "./stream.ts";
import { submit } from "./submit.ts";

export interface RouteParts {
  readonly coordinator: Coordinator;
  readonly gate: Gate;
  readonly bodies: Bodies;
  readonly streams: Streams;
  readonly clock: Clock;
  readonly log: Log;
  /** Of whoever leads; undefined where no requests for models come through. */
  readonly sight?: () => ModelSight | undefined;
}

/** A body of somebody who has proved nothing yet. */
const STRANGERS_BYTES_MAX = 16 * 1024;

type Env = { Bindings: HttpBindings };
type Serve = (parts: RouteParts, operation: Operation) => (context: Context<Env>) => Response | Promise<Response>;

const OWN_WAYS: Readonly<Record<OwnWay, Serve>> = {
  submit: serveSubmit,
  events: serveStream((parts, input, lastEventId) => streamEvents(parts, input.query as EventQuery, lastEventId)),
  logs: serveStream((parts, input, lastEventId) =>
    streamLogs(parts, (input.params as Call<"logs">["params"]).id, input.query as LogQuery, lastEventId),
  ),
};

export function mountRoutes(parts: RouteParts, operations: Readonly<Record<string, Operation>> = OPERATIONS): Hono<Env> {
  const app = new Hono<Env>();
  for (const [name, operation] of Object.entries(operations)) {
    app.on(operation.method, `/api/v1${operation.path.replaceAll(/\{(\w+)\}/g, ":$1")}`, serveOperation(parts, name, operation));
  }
  mountPlain(app, parts, operations);
  const known: readonly Known[] = app.routes.map(({ method, path }) => ({
    method,
    form: new RegExp(`^${path.replaceAll(/:\w+/g, "[^/]+")}$`),
  }));
  app.notFound((context) => refusePath(context, parts, known));
  app.onError((thrown, { env }) => {
    const error = asClusterError(thrown, parts.log);
    return refuse(env, error, parts.clock);
  });
  return app;
}

function serveOperation(parts: RouteParts, name: string, operation: Operation): (context: Context<Env>) => Response | Promise<Response> {
  const { scope } = operation;
  if (scope !== "proof" && !Scope.safeParse(scope).success) throw new Error(`operation ${name} has no scope`);
  if (name in OWN_WAYS) return OWN_WAYS[name as OwnWay](parts, operation);
  if (!(name in HANDLERS)) throw new Error(`operation ${name} has no handler`);
  // The table's type has proved each handler against its own operation; here they are all alike.
  const handle = HANDLERS[name as Exclude<OperationName, OwnWay>] as (coordinator: Coordinator, call: unknown) => unknown;
  const input = readInput(operation);
  const bytesMax = scope === "proof" ? STRANGERS_BYTES_MAX : operation.bodyBytesMax;
  const mayUse = ownership(operation);
  const sight = (): ModelSight => sightOf(parts.sight?.());
  const serve = (context: Context<Env>, token?: ApiTokenRow, judge?: Judge): Response | Promise<Response> => {
    const { incoming, outgoing } = context.env;
    const { params, query } = input(context);
    const actor = token === undefined ? "" : `token ${token.id} (${token.name})`;
    const reader = token === undefined ? NOBODY : readerOf(token);
    const signal = (): AbortSignal => {
      const gone = new AbortController();
      outgoing.on("close", () => gone.abort());
      return gone.signal;
    };
    const peer = (): Peer => ({ address: incoming.socket.remoteAddress ?? "", port: incoming.socket.remotePort ?? 0 });
    const answer = async (body: unknown): Promise<Response> => {
      if (mayUse !== undefined) await mayUse(parts.coordinator, reader, params);
      const call = { params, query, body, signal, peer, actor, reader, token, sight };
      const reply =
        judge === undefined ? handle(parts.coordinator, call) : judge(async (proven) => handle(parts.coordinator, { ...call, proven }));
      return json(operation.status, await reply);
    };
    const form = operation.body;
    if (form !== undefined) return parts.bodies.read(incoming, ({ value }) => answer(checkBody(form, value, "")), bytesMax);
    if (operation.method !== "get") refuseForm(incoming);
    return answer(undefined);
  };
  if (scope === "proof") return (context) => parts.gate.prove(context.env.incoming, async (judge) => serve(context, undefined, judge));
  return async (context) => serve(context, parts.gate.admit(context.env.incoming, scope));
}

const NOBODY: Reader = { user: "", all: false };

/** Of an operation with a way of its own. */
function tokenScope({ scope, path }: Operation): Scope {
  if (scope === "proof") throw new Error(`${path} wants a token`);
  return scope;
}

function serveSubmit(parts: RouteParts, operation: Operation): (context: Context<Env>) => Promise<Response> {
  const scope = tokenScope(operation);
  const input = readInput(operation);
  return async (context) => {
    const { incoming, outgoing } = context.env;
    if (isArmed("submit.answered")) outgoing.once("finish", () => failpoint("submit.answered"));
    const token = parts.gate.admit(incoming, scope);
    const { plan } = input(context).query as { plan?: boolean };
    const admitted = parts.coordinator.admission.admit(token.id);
    if (admitted instanceof ClusterError) return refuse(context.env, admitted, parts.clock);
    try {
      return await submit(parts, token, incoming, plan === true);
    } finally {
      admitted.leave();
    }
  };
}

/** Not thrown: under a flood this is what most of the time goes into. */
function refuse({ incoming, outgoing }: HttpBindings, error: ClusterError, clock: Clock): Response {
  if (!isSending(incoming)) return problem(error);
  refuseUnread(outgoing, error, clock);
  return RESPONSE_ALREADY_SENT;
}

interface StreamParts extends RouteParts {
  readonly outgoing: HttpBindings["outgoing"];
  readonly reader: Reader;
  readonly mustHold: () => void;
}
type Run = (parts: StreamParts, input: Input, lastEventId: string | undefined) => Promise<void>;

function serveStream(run: Run): Serve {
  return (parts, operation) => {
    const scope = tokenScope(operation);
    const input = readInput(operation);
    const mayUse = ownership(operation);
    return async (context) => {
      const { incoming, outgoing } = context.env;
      const { token, mustHold } = parts.gate.admitStream(incoming, scope);
      const reader = readerOf(token);
      const lastEventId = incoming.headers["last-event-id"];
      try {
        const its = input(context);
        if (mayUse !== undefined) await mayUse(parts.coordinator, reader, its.params);
        await run({ ...parts, outgoing, reader, mustHold }, its, typeof lastEventId === "string" ? lastEventId : undefined);
      } catch (thrown) {
        if (!outgoing.headersSent) throw thrown;
        outgoing.end(event(toProblem(asClusterError(thrown, parts.log)), { name: "error" }));
      }
      return RESPONSE_ALREADY_SENT;
    };
  };
}

interface Input {
  readonly params: unknown;
  readonly query: unknown;
}

/** A misspelt query parameter is an error too, so that `?stat=queued` does not list everything. */
function readInput(operation: Operation): (context: Context<Env>) => Input {
  const { params } = operation;
  const query: z.ZodObject | undefined = operation.query?.strict();
  return (context) => ({
    params: params === undefined ? undefined : check(params, context.req.param(), ""),
    query: query === undefined ? undefined : check(query, queryValues(context), "query"),
  });
}

function queryValues(context: Context<Env>): Record<string, unknown> {
  if (!context.env.incoming.url?.includes("?")) return {};
  return Object.fromEntries(
    Object.entries(context.req.queries()).map(([name, values]) => [name, values.length === 1 ? values[0] : values]),
  );
}

/** What stands outside the table: probes, metrics and the document about the rest. */
function mountPlain(app: Hono<Env>, { coordinator, gate, sight }: RouteParts, operations: Readonly<Record<string, Operation>>): void {
  let document: unknown;
  app.get("/healthz", ({ env }) => {
    gate.checkOrigin(env.incoming);
    return json(200, { status: "ok" });
  });
  app.get("/readyz", async ({ env }) => {
    gate.admit(env.incoming, "viewer");
    // Reads the store, and so fails while the coordinator cannot take work.
    await coordinator.cluster();
    return json(200, coordinator.health());
  });
  app.get("/metrics", async ({ env }) => {
    gate.admit(env.incoming, "viewer");
    return text(metrics(await coordinator.cluster(), coordinator.nodes()) + modelMetrics(sight?.()));
  });
  app.get("/openapi.json", async ({ env }) => {
    gate.admit(env.incoming, "viewer");
    document ??= openApiDocument(operations, (await coordinator.cluster()).version);
    return json(200, document);
  });
}

interface Known {
  readonly method: string;
  readonly form: RegExp;
}

/** No such path, or not with this method. Only a caller with a token learns which. */
function refusePath({ env, req }: Context<Env>, { gate }: RouteParts, known: readonly Known[]): Response {
  gate.admit(env.incoming, "viewer");
  const allowed = [...new Set(known.filter(({ form }) => form.test(req.path)).map(({ method }) => method))].join(", ");
  if (allowed === "") return problem(new ClusterError("not_found", "There is nothing at this path; see /openapi.json."));
  return problem(new ClusterError("method_not_allowed", `This path takes ${allowed}.`), { allow: allowed });
}
