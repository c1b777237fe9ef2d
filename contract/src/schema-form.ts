/**
 * Is a value a JSON schema that can be checked by? Looked at when a task is submitted, so that a mistake in it is told to whoever made it,
 * and not by every node once more.
 *
 * F1. Only the form is looked at: the values of the known keywords, of all schemas in it. Unknown keywords are let through, as the standard
 *     says.
 * F2. A schema refers to nothing outside itself: nobody fetches anything for it.
 */
import type { Json } from "./json.ts";

export interface SchemaFault {
  /** Where in the schema. */
  readonly path: (string | number)[];
  readonly message: string;
}

type Form = (value: Json, path: (string | number)[]) => SchemaFault | undefined;

const TYPES: readonly string[] = ["null", "boolean", "object", "array", "number", "integer", "string"];

const fault = (path: (string | number)[], message: string): SchemaFault => ({ path, message });
const isObject = (value: Json): value is Record<string, Json> => typeof value === "object" && value !== null && !Array.isArray(value);
const isCount = (value: Json): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

const wanted =
  (isRight: (value: Json) => boolean, what: string): Form =>
  (value, path) =>
    isRight(value) ? undefined : fault(path, `is ${what}`);

const eachOf =
  (form: Form, what: string): Form =>
  (value, path) =>
    Array.isArray(value) ? first(value.map((one, at) => () => form(one, [...path, at]))) : fault(path, `is a list of ${what}`);

const mapOf =
  (form: Form, what: string): Form =>
  (value, path) =>
    isObject(value)
      ? first(
          Object.entries(value).map(
            ([name, one]) =>
              () =>
                form(one, [...path, name]),
          ),
        )
      : fault(path, `is an object of ${what}`);

const first = (looks: readonly (() => SchemaFault | undefined)[]): SchemaFault | undefined => {
  for (const look of looks) {
    const found = look();
    if (found !== undefined) return found;
  }
  return undefined;
};

const schema: Form = (value, path) => {
  if (typeof value === "boolean") return undefined;
  if (!isObject(value)) return fault(path, "is a schema: an object, true or false");
  return first(
    Object.entries(value).map(
      ([keyword, one]) =>
        () =>
          FORMS.get(keyword)?.(one, [...path, keyword]),
    ),
  );
};
const text = wanted((value) => typeof value === "string", "a text");
const number = wanted((value) => typeof value === "number", "a number");
const count = wanted(isCount, "a whole number from 0 on");
const flag = wanted((value) => typeof value === "boolean", "true or false");
const list = wanted(Array.isArray, "a list");
const schemas = eachOf(schema, "schemas");
const named = mapOf(schema, "schemas");
const within = wanted((value) => typeof value === "string" && value.startsWith("#"), "a reference within the schema, which begins with #");
const isType = (value: Json): boolean => typeof value === "string" && TYPES.includes(value);

const pattern: Form = (value, path) => {
  if (typeof value !== "string") return fault(path, "is a regular expression");
  try {
    // As it is read where answers are checked.
    new RegExp(value, "u");
    return undefined;
  } catch (error) {
    return fault(path, (error as Error).message);
  }
};

/** By the drafts 7 to 2020-12. */
const FORMS: ReadonlyMap<string, Form> = new Map<string, Form>([
  ["type", wanted((value) => isType(value) || (Array.isArray(value) && value.every(isType)), `one or some of ${TYPES.join(", ")}`)],
  ["enum", list],
  ...["$ref", "$dynamicRef", "$recursiveRef"].map((name) => [name, within] as const),
  ...["$id", "$schema", "$anchor", "title", "description", "format"].map((name) => [name, text] as const),
  ...["multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"].map((name) => [name, number] as const),
  ...["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains"].map(
    (name) => [name, count] as const,
  ),
  ["uniqueItems", flag],
  ["pattern", pattern],
  ["required", eachOf(text, "names")],
  ["dependentRequired", mapOf(eachOf(text, "names"), "lists of names")],
  ["items", (value, path) => (Array.isArray(value) ? schemas(value, path) : schema(value, path))],
  ...["allOf", "anyOf", "oneOf", "prefixItems"].map((name) => [name, schemas] as const),
  ...["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"].map((name) => [name, named] as const),
  ...[
    ...["additionalProperties", "unevaluatedProperties", "propertyNames", "additionalItems", "unevaluatedItems"],
    ...["contains", "not", "if", "then", "else"],
  ].map((name) => [name, schema] as const),
]);

/** undefined: it can be checked by. */
export function schemaFault(value: Json): SchemaFault | undefined {
  return isObject(value) ? schema(value, []) : fault([], "is a schema: an object");
}
