/**
 * Arbitraries from JSON Schema, as zod writes it: values that the schema takes. What a schema cannot say (a refinement) the
 * receiver may refuse all the same. A keyword that is not known here stops the run, so that nothing is left out by accident.
 */
import fc from "fast-check";
import { z } from "zod";

export type Schema = Readonly<Record<string, unknown>>;
/** Where a `$ref` leads. */
export type Definitions = Readonly<Record<string, Schema>>;

/** Longer lists and records say nothing new here; those at their limits are made by mutations. */
const ITEMS_MAX = 3;
const TEXT_CHARS_MAX = 24;
const KNOWN: ReadonlySet<string> = new Set([
  ...["$ref", "$schema", "$defs", "$id", "id", "anyOf", "oneOf", "const", "enum", "type", "default", "description", "format"],
  ...["pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "minItems", "maxItems", "items"],
  ...["properties", "required", "additionalProperties", "propertyNames"],
]);

/** Made once for each schema, because a large one's takes megabytes. */
const made = new Map<string, fc.Arbitrary<unknown>>();

export function valuesOf(schema: Schema, definitions: Definitions = {}): fc.Arbitrary<unknown> {
  const key = JSON.stringify(schema);
  const known = made.get(key) ?? make(schema, definitions);
  made.set(key, known);
  return known;
}

/** Values of one of the contract's own types, as whoever sends them would write them. */
export function valuesOfType(type: z.ZodType): fc.Arbitrary<unknown> {
  const schema = z.toJSONSchema(type, { io: "input", target: "draft-2020-12" }) as Schema;
  return valuesOf(schema, schema["$defs"] as Definitions | undefined);
}

function make(schema: Schema, definitions: Definitions): fc.Arbitrary<unknown> {
  const unknown = Object.keys(schema).find((keyword) => !KNOWN.has(keyword));
  if (unknown !== undefined) throw new Error(`the fuzzing does not know the keyword ${unknown}`);
  const { $ref, anyOf, oneOf, type } = schema;
  if (typeof $ref === "string") return valuesOf(resolve($ref, definitions), definitions);
  const branches = (anyOf ?? oneOf) as readonly Schema[] | undefined;
  if (branches !== undefined) return fc.oneof(...branches.map((branch) => valuesOf(branch, definitions)));
  if ("const" in schema) return fc.constant(schema["const"]);
  if (Array.isArray(schema["enum"])) return fc.constantFrom(...(schema["enum"] as unknown[]));
  switch (type) {
    case "string":
      return texts(schema);
    case "integer":
      return numbers(schema, (limits) => fc.integer(limits));
    case "number":
      return numbers(schema, (limits) => fc.double({ ...limits, noNaN: true, noDefaultInfinity: true }));
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    case "array":
      return lists(schema, definitions);
    case "object":
      return objects(schema, definitions);
    case undefined:
      return fc.jsonValue({ maxDepth: 3 });
    default:
      throw new Error(`the fuzzing does not know the type ${JSON.stringify(type)}`);
  }
}

function resolve(reference: string, definitions: Definitions): Schema {
  const found = definitions[reference.split("/").at(-1) ?? ""];
  if (found === undefined) throw new Error(`nothing stands behind ${reference}`);
  return found;
}

function texts(schema: Schema): fc.Arbitrary<string> {
  const minLength = (schema["minLength"] as number | undefined) ?? 0;
  const limit = (schema["maxLength"] as number | undefined) ?? Infinity;
  const maxLength = Math.min(limit, Math.max(minLength, TEXT_CHARS_MAX));
  if (typeof schema["pattern"] === "string")
    return fc.stringMatching(new RegExp(schema["pattern"])).filter((text) => text.length <= limit && text.length >= minLength);
  const plain = fc.string({ minLength, maxLength, unit: "grapheme-ascii" });
  // Of any characters; a cut may leave half of one, as a slip of somebody's program would.
  const any = fc.string({ minLength, maxLength, unit: "binary" }).map((text) => text.slice(0, maxLength));
  return fc.oneof({ weight: 3, arbitrary: plain }, { weight: 1, arbitrary: any });
}

interface Limits {
  readonly min: number;
  readonly max: number;
}

function numbers(schema: Schema, make: (limits: Limits) => fc.Arbitrary<number>): fc.Arbitrary<number> {
  const min = (schema["minimum"] as number | undefined) ?? (schema["exclusiveMinimum"] as number | undefined) ?? Number.MIN_SAFE_INTEGER;
  const max = (schema["maximum"] as number | undefined) ?? Number.MAX_SAFE_INTEGER;
  const small = { min: Math.min(Math.max(min, 0), max), max: Math.min(max, Math.max(min, 0) + 10) };
  return fc.oneof({ weight: 3, arbitrary: make(small) }, { weight: 1, arbitrary: make({ min, max }) }, fc.constantFrom(min, max));
}

function lists(schema: Schema, definitions: Definitions): fc.Arbitrary<unknown[]> {
  const minLength = (schema["minItems"] as number | undefined) ?? 0;
  const maxLength = Math.min((schema["maxItems"] as number | undefined) ?? Infinity, Math.max(minLength, ITEMS_MAX));
  return fc.array(valuesOf((schema["items"] as Schema | undefined) ?? {}, definitions), { minLength, maxLength });
}

function objects(schema: Schema, definitions: Definitions): fc.Arbitrary<object> {
  const { properties, additionalProperties, propertyNames } = schema;
  if (properties === undefined) {
    const names = valuesOf((propertyNames as Schema | undefined) ?? { type: "string" }, definitions) as fc.Arbitrary<string>;
    const values = typeof additionalProperties === "object" ? (additionalProperties as Schema) : {};
    return fc.dictionary(names, valuesOf(values, definitions), { maxKeys: ITEMS_MAX });
  }
  const fields = Object.entries(properties as Readonly<Record<string, Schema>>);
  const required = (schema["required"] as string[] | undefined) ?? [];
  const model = Object.fromEntries(fields.map(([name, field]) => [name, valuesOf(field, definitions)]));
  const whole = fc.record(model, { requiredKeys: required });
  const optional = fields.map(([name]) => name).filter((name) => !required.includes(name));
  if (optional.length <= 2) return whole;
  // With all of its fields an object is nearly always refused for one of them: most have one or two that need not be there.
  const few = fc.subarray(optional, { maxLength: 2 });
  return fc.oneof(
    { weight: 1, arbitrary: whole },
    { weight: 3, arbitrary: fc.tuple(whole, few).map(([all, kept]) => pick(all, [...required, ...kept])) },
  );
}

const pick = (object: object, names: readonly string[]): object =>
  Object.fromEntries(Object.entries(object).filter(([name]) => names.includes(name)));
