/**
 * The OpenAPI 3.1 document, made from the operation table: 3.1 speaks JSON Schema 2020-12, which zod writes itself.
 * (@hono/zod-openapi's generator overflows the stack on recursive JSON values.)
 */
import { ERRORS, Problem, type ErrorCode } from "@openclaw-cluster/contract/errors";
import type { Operation, Others } from "@openclaw-cluster/contract/operation";
import { z } from "zod";

type Schema = Record<string, unknown>;
type Components = Record<string, unknown>;

/** Errors that any operation can answer with; an operation's own stand in docs/api.md. */
const ANY: readonly ErrorCode[] = ["bad_request", "unauthorized", "forbidden", "misdirected", "overloaded", "internal", "unavailable"];

/** Of operations that name nothing in their path, what can be in the way all the same. */
const FURTHER: Readonly<Record<string, readonly ErrorCode[]>> = {
  submit: ["idempotency_mismatch"],
  /** A name or a key that is somebody's already. */
  join: ["state_conflict"],
  enrol: ["state_conflict"],
  /** Another one is being made. */
  backup: ["state_conflict"],
  /** It is being moved already. */
  migrateStore: ["state_conflict"],
  /** Of one task's events, a task that is not there. */
  events: ["not_found"],
  /** Whoever leads has models off. */
  modelRequests: ["not_found"],
  planModel: ["not_found"],
};

const OTHERS: Readonly<Record<Others, string>> = {
  outline: "Below the scope operator, what is other users' comes without its payload.",
  refused: "Below the scope operator, only for tasks of one's own.",
  absent: "Below the scope operator, only of tasks of one's own.",
};

export function openApiDocument(operations: Readonly<Record<string, Operation>>, version: string): Schema {
  const components: Components = {};
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [name, operation] of Object.entries(operations)) {
    const path = (paths[`/api/v1${operation.path}`] ??= {});
    path[operation.method] = describe(name, operation, components);
  }
  schema(Problem, components);
  return {
    openapi: "3.1.0",
    info: { title: "OpenClaw Cluster", version, description: "Errors are RFC 9457 problems whose `code` comes from a closed table." },
    servers: [{ url: "/" }],
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
      schemas: components,
      responses: Object.fromEntries(Object.keys(ERRORS).map((code) => [code, problemResponse(code as ErrorCode)])),
    },
  };
}

function describe(name: string, operation: Operation, components: Components): Schema {
  const { method, summary, scope, others, params, query, body, reply, status, stream } = operation;
  const parameters = [...fields("path", params, components), ...fields("query", query, components)];
  if (stream === true) parameters.push({ name: "Last-Event-ID", in: "header", required: false, schema: { type: "string" } });
  if (name === "submit")
    parameters.push({ name: "Idempotency-Key", in: "header", required: false, schema: { type: "string", minLength: 1, maxLength: 256 } });
  const content = { [stream === true ? "text/event-stream" : "application/json"]: { schema: schema(reply, components) } };
  const own: readonly ErrorCode[] = [
    ...(params === undefined ? [] : (["not_found", "state_conflict"] as const)),
    ...(method === "get" ? [] : (["storage_full"] as const)),
    ...(body === undefined ? [] : (["payload_too_large", "unsupported_media_type"] as const)),
    ...(FURTHER[name] ?? []),
  ];
  return {
    operationId: name,
    summary,
    description: `Scope: ${scope}.${others === undefined ? "" : ` ${OTHERS[others]}`}`,
    "x-scope": scope,
    ...(others !== undefined && { "x-others": others }),
    ...(parameters.length > 0 && { parameters }),
    ...(body !== undefined && { requestBody: { required: true, content: { "application/json": { schema: schema(body, components) } } } }),
    responses: {
      [status]: { description: summary, content },
      // A plan makes nothing, and a replayed submit made nothing new.
      ...(name === "submit" && { 200: { description: "A plan, or tasks that were all made before", content } }),
      ...problems([...ANY, ...own]),
    },
  };
}

function fields(place: "path" | "query", object: z.ZodObject | undefined, components: Components): Schema[] {
  return Object.entries(object?.shape ?? {}).map(([name, field]) => ({
    name,
    in: place,
    required: place === "path",
    schema: schema(field as z.ZodType, components),
  }));
}

/** One response for each status; its codes in the description. */
function problems(codes: readonly ErrorCode[]): Schema {
  const responses: Schema = {};
  for (const status of new Set(codes.map((code) => ERRORS[code].status))) {
    const same = codes.filter((code) => ERRORS[code].status === status);
    responses[status] = same.length === 1 ? { $ref: `#/components/responses/${same[0]}` } : problemResponse(...same);
  }
  return responses;
}

function problemResponse(...codes: ErrorCode[]): Schema {
  return {
    description: codes.map((code) => `${code}: ${ERRORS[code].hint}`).join(" "),
    content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
  };
}

/** zod's JSON Schema with its named parts moved to the document's components. */
function schema(type: z.ZodType, components: Components): Schema {
  const {
    $schema: _dialect,
    $defs = {},
    ...rest
  } = z.toJSONSchema(type, { io: "input", target: "draft-2020-12" }) as Schema & {
    $defs?: Record<string, Schema>;
  };
  for (const [key, definition] of Object.entries($defs)) move(key, definition, components);
  return isRecursive(rest) ? move("#", rest, components) : pointToComponents(rest);
}

function move(key: string, definition: Schema, components: Components): Schema {
  const name = componentName(key);
  const moved = pointToComponents(definition);
  const known = components[name];
  if (known !== undefined && JSON.stringify(known) !== JSON.stringify(moved)) throw new Error(`two schemas are called ${name}`);
  components[name] = moved;
  return { $ref: `#/components/schemas/${name}` };
}

function isRecursive(schema: Schema): boolean {
  return JSON.stringify(schema).includes('"$ref":"#"');
}

/** The only schema that refers to itself is any JSON value, and zod gives it no name. */
function componentName(key: string): string {
  return key === "#" || key.startsWith("__") ? "Json" : key;
}

function pointToComponents(schema: Schema): Schema {
  return JSON.parse(JSON.stringify(schema), (key, value: unknown) =>
    key === "$ref" && typeof value === "string" ? `#/components/schemas/${componentName(value.replace("#/$defs/", ""))}` : value,
  ) as Schema;
}
