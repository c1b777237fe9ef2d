/**
 * Requests made from the OpenAPI document that the server serves: for each operation what it takes, and what it does not, by
 * everybody there is. An operation of which no request can be made stops the run.
 *
 * Q1. What wants a proof is proved for the most part (proofs.ts), else nobody would get behind it.
 */
import type { Scope } from "@openclaw-cluster/contract/scopes";
import fc from "fast-check";
import { valuesOf, type Definitions, type Schema } from "./from-schema.ts";
import { bytesOf, mutate, mutations, textForms, type Mutation, type TextForm } from "./mutation.ts";
import { isProven, type ProvenOperation, type Unsigned } from "./proofs.ts";

export type Who = Scope | "nobody" | "stranger";

interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required: boolean;
  readonly schema: Schema;
}

interface DescribedOperation {
  readonly operationId: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: { readonly "application/json": { readonly schema: Schema } } };
  readonly responses: Readonly<Record<string, unknown>>;
}

export interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, DescribedOperation>>>>;
  readonly components: { readonly schemas: Definitions };
}

/** One operation, as the document tells of it. */
export interface Described {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly statuses: readonly number[];
  readonly operation: DescribedOperation;
}

export interface Shot {
  readonly operation: string;
  readonly as: Who;
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer | undefined;
  /** In the body's place, until it is sent. */
  readonly unsigned?: Unsigned;
}

/** The one that works. */
export const WORKER = "labourer";
/** What a request may well be about: there are tasks and nodes of these names. The first node waits to be approved, the last is never there. */
export const NODES = ["one", "two", "three", "four", "nobody"] as const;
/** For a probe of any other node somebody would wait ten seconds. */
const PROBED = [WORKER, WORKER, WORKER, NODES[0]] as const;
export const TOKEN = "sparekey";
/** Requests for models that are in the book. */
export const MODEL_REQUESTS = ["aaaaaaaa", "bbbbbbbb"] as const;
/** Tasks that wait for a node which there is not. */
export const WAITING = 8;
/** Tasks that wait for a person's answer, when one is asked for; their numbers follow those. */
export const DOUBTFUL = 4;
const TASKS_MAX = 40;
const LONGEST_WAIT_S = 0.05;

export function describedIn(document: OpenApi): Described[] {
  return Object.entries(document.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([method, operation]) => ({
      name: operation.operationId,
      method: method.toUpperCase(),
      path,
      statuses: Object.keys(operation.responses).map(Number),
      operation,
    })),
  );
}

export function requestsFor({ name, method, path, operation }: Described, definitions: Definitions): fc.Arbitrary<Shot> {
  const parameters = operation.parameters ?? [];
  const schema = operation.requestBody?.content["application/json"].schema;
  const parts = fc.record({
    as: whos,
    params: fieldsOf(path, parameters, "path", definitions),
    query: fieldsOf(path, parameters, "query", definitions),
    body: schema === undefined ? fc.constant(undefined) : valuesOf(schema, definitions),
    changes: mutations,
    queryChanges: mutations,
    text: textForms,
    manner: manners,
  });
  const plain = parts.map((made) => toShot({ name, method, path, hasBody: schema !== undefined, made }));
  if (schema === undefined || !isProven(name)) return plain;
  return fc.oneof(
    { weight: 1, arbitrary: plain },
    { weight: 3, arbitrary: provenShots({ name, method, path }, valuesOf(schema, definitions)) },
  );
}

/** Q1. */
function provenShots(
  { name, method, path }: { readonly name: ProvenOperation; readonly method: string; readonly path: string },
  bodies: fc.Arbitrary<unknown>,
): fc.Arbitrary<Shot> {
  const unsigned: fc.Arbitrary<Unsigned> = fc.record({
    operation: fc.constant(name),
    node: fc.constantFrom(...(name === "probe" ? PROBED : [WORKER, ...NODES])),
    body: bodies as fc.Arbitrary<object>,
    changes: mutations,
    spoiltLater: fc.constantFrom(false, false, false, true),
    text: textForms,
    lateMs: fc.oneof(
      { weight: 6, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.constantFrom(-61_000, -59_000, 59_000, 61_000, 1e15) },
    ),
    key: fc.constantFrom("new", "new", "new", "own", "another's"),
    again: fc.constantFrom(false, false, false, true),
  });
  return unsigned.map((made) => ({
    ...{ operation: name, as: "nobody", method, target: path.replace("{id}", made.node), body: undefined, unsigned: made },
    headers: [["content-type", "application/json"]],
  }));
}

const whos: fc.Arbitrary<Who> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Who>("admin") },
  { weight: 3, arbitrary: fc.constantFrom<Who>("viewer", "submitter", "operator") },
  { weight: 1, arbitrary: fc.constantFrom<Who>("nobody", "stranger") },
);

/** How it is sent, beside what is sent. */
interface Manner {
  readonly type: string | undefined;
  readonly encoding: string | undefined;
  readonly extra: readonly (readonly [string, string])[];
  readonly tail: string;
}

const usual: Manner = { type: "application/json", encoding: undefined, extra: [], tail: "" };
const EXTRA: readonly (readonly [string, string])[] = [
  ...["-1", "1e99", "0.1.2", "9007199254740993", "1.1", "999999999.999999999", "NaN", " ", "\u00ff", "x".repeat(4_000)].map(
    (id): [string, string] => ["last-event-id", id],
  ),
  ["x-large", "y".repeat(7_500)],
  ["x-too-large", "y".repeat(9_000)],
  ...["a key", "", "x".repeat(257), "\u00e9", "__proto__"].map((key): [string, string] => ["idempotency-key", key]),
  ["origin", "http://elsewhere.example"],
  ["origin", "null"],
  ["sec-fetch-site", "cross-site"],
  ["expect", "100-continue"],
  ["upgrade", "websocket"],
  ["x-http-method-override", "DELETE"],
  ["accept", "text/html"],
  ["range", "bytes=0-1"],
  ["if-none-match", "*"],
];
const TYPES = [
  undefined,
  "text/plain",
  "application/x-www-form-urlencoded",
  "application/json; charset=utf-16",
  "application/json;x",
  "application/jsonp",
  "",
];
const TAILS = [
  "?",
  "?&&&=",
  "?limit=1&limit=2",
  "?%zz",
  "?__proto__=1",
  "?constructor=1",
  "?a[]=1",
  "?\u00e9",
  `?x=${"1".repeat(6_000)}`,
  "#part",
  "/",
  "//",
  ";a=b",
  "%00",
  "?cursor=%00",
];

const manners: fc.Arbitrary<Manner> = fc.oneof(
  { weight: 4, arbitrary: fc.constant(usual) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.oneof({ weight: 3, arbitrary: fc.constant("application/json") }, { weight: 1, arbitrary: fc.constantFrom(...TYPES) }),
      encoding: fc.constantFrom(undefined, undefined, "identity", "gzip", "deflate, gzip", "br"),
      extra: fc.subarray([...EXTRA], { maxLength: 2 }),
      tail: fc.oneof({ weight: 2, arbitrary: fc.constant("") }, { weight: 1, arbitrary: fc.constantFrom(...TAILS) }),
    }),
  },
);

function fieldsOf(
  path: string,
  parameters: readonly Parameter[],
  place: Parameter["in"],
  definitions: Definitions,
): fc.Arbitrary<Record<string, unknown>> {
  const own = parameters.filter((parameter) => parameter.in === place);
  const model = Object.fromEntries(
    own.map(({ name, schema }) => [name, place === "path" ? idsFor(path, valuesOf(schema, definitions)) : valuesOf(schema, definitions)]),
  );
  const all = fc.record(model) as fc.Arbitrary<Record<string, unknown>>;
  if (place === "path") return all;
  // One wrong field refuses them all.
  const some = fc.subarray(Object.keys(model), { maxLength: Math.min(2, Object.keys(model).length) });
  return fc.tuple(all, some).map(([values, kept]) => Object.fromEntries(Object.entries(values).filter(([name]) => kept.includes(name))));
}

/** Mostly such as there are. */
function idsFor(path: string, any: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const known = path.endsWith("/answer")
    ? fc.integer({ min: WAITING + 1, max: WAITING + DOUBTFUL }).map((n) => `t${n}`)
    : path.includes("/tasks/")
      ? fc.integer({ min: 1, max: TASKS_MAX }).map((n) => `t${n}`)
      : path.includes("/nodes/") && !path.includes("/skills/")
        ? fc.constantFrom(...NODES)
        : path.includes("/tokens/")
          ? fc.constant(TOKEN)
          : path.includes("/models/")
            ? fc.constantFrom(...MODEL_REQUESTS)
            : any;
  return fc.oneof({ weight: 5, arbitrary: known }, { weight: 1, arbitrary: any });
}

interface Made {
  readonly as: Who;
  readonly params: Record<string, unknown>;
  readonly query: Record<string, unknown>;
  readonly body: unknown;
  readonly changes: readonly Mutation[];
  readonly queryChanges: readonly Mutation[];
  readonly text: TextForm;
  readonly manner: Manner;
}

function toShot({ name, method, path, hasBody, made }: { name: string; method: string; path: string; hasBody: boolean; made: Made }): Shot {
  const { as, query, manner } = made;
  // Of an operation without a body its parameters are what can be wrong.
  const params = hasBody ? made.params : (asObject(mutate(made.params, made.changes)) ?? made.params);
  const place = path.replaceAll(/\{(\w+)\}/g, (_all, key: string) => encoded(params[key]));
  const asked = shortened(path, asObject(mutate(query, made.queryChanges)) ?? query);
  const words = Object.entries(asked).map(([key, value]) => `${encoded(key)}=${encoded(value)}`);
  const body = hasBody ? bytesOf(mutate(made.body, made.changes), made.text) : undefined;
  const headers: [string, string][] = [...manner.extra.map(([key, value]): [string, string] => [key, value])];
  if (body !== undefined && manner.type !== undefined) headers.push(["content-type", manner.type]);
  if (made.text === "zipped" || manner.encoding !== undefined) headers.push(["content-encoding", manner.encoding ?? "gzip"]);
  return { operation: name, as, method, target: `${place}${words.length > 0 ? `?${words.join("&")}` : ""}${manner.tail}`, headers, body };
}

/** Nobody waits a minute for an answer that is that late on purpose. */
function shortened(path: string, query: Record<string, unknown>): Record<string, unknown> {
  const { wait } = query;
  const seconds = typeof wait === "object" ? 0 : Number(wait);
  return path.endsWith("/tasks/{id}") && seconds > LONGEST_WAIT_S && seconds <= 60 ? { ...query, wait: LONGEST_WAIT_S } : query;
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
}

/** As a browser would write it; what has no UTF-8 becomes a question mark. Half a minute's worth of text is cut. */
function encoded(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  return encodeURIComponent(text.slice(0, 2_000).toWellFormed());
}
