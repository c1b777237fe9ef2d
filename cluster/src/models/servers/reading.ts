/**
 * How what a model server says of its models is read: leniently, because each release of each program says it a little differently.
 *
 * R1. A field that is not as expected counts as not said, an entry without a name is left out, and both spoil nothing else.
 * R2. What comes out is valid by the contract, whatever went in.
 */
import { createHash } from "node:crypto";
import { NodeModelOffer, type ModelAbilities } from "@openclaw-cluster/contract/models";
import { z } from "zod";
import { ModelFault } from "../models.ts";
import type { Heard } from "./model-server.ts";

/** Lists what one server has at the moment. Rejects with ModelFault where it is not there, or says what nobody understands. */
export type Lister = () => Promise<readonly NodeModelOffer[]>;

/** R1. */
export const maybe = <T extends z.ZodType>(schema: T): z.ZodCatch<z.ZodOptional<T>> => schema.optional().catch(undefined as never);
export const text = maybe(z.string());
export const count = maybe(z.number());
export const flag = maybe(z.boolean());

/** R1. Those of the list that fit. */
export function eachOf<T extends z.ZodType>(entry: T): z.ZodPipe<z.ZodArray<z.ZodUnknown>, z.ZodTransform<z.output<T>[], unknown[]>> {
  return z.array(z.unknown()).transform((all) =>
    all.flatMap((one) => {
      const read = entry.safeParse(one);
      return read.success ? [read.data] : [];
    }),
  );
}

/** undefined: it is no such answer. */
export function readAs<T extends z.ZodType>(schema: T, { status, json }: Heard): z.output<T> | undefined {
  const read = status === 200 ? schema.safeParse(json) : undefined;
  return read?.success === true ? read.data : undefined;
}

export function mustRead<T extends z.ZodType>(schema: T, heard: Heard, what: string): z.output<T> {
  const read = readAs(schema, heard);
  if (read === undefined) throw new ModelFault("garbage", `${what} is not understood (status ${heard.status})`);
  return read;
}

/**
 * What a server tells of a model; undefined and what the contract cannot say are left out. What it costs only the settings know, and what
 * feeds its machine only the system.
 */
export type Known = {
  readonly [Field in keyof Omit<NodeModelOffer, "paid" | "onBattery">]-?: undefined extends NodeModelOffer[Field]
    ? NodeModelOffer[Field] | undefined
    : NodeModelOffer[Field];
};

const CHARS_MAX = 256;
const told = (said: string | undefined): string | undefined => (said === "" || (said?.length ?? 0) > CHARS_MAX ? undefined : said);
const whole = (said: number | undefined, min: number): number | undefined =>
  said !== undefined && Number.isSafeInteger(Math.floor(said)) && said >= min ? Math.floor(said) : undefined;

/** R2. No element or one. */
export function offerOf(known: Known): NodeModelOffer[] {
  const total = whole(known.slots?.total, 1);
  const offer = {
    ...known,
    digest: told(known.digest),
    sizeBytes: whole(known.sizeBytes, 0),
    quantization: told(known.quantization),
    contextTokens: whole(known.contextTokens, 1),
    slots: total === undefined ? undefined : { total, busy: whole(known.slots?.busy, 0) ?? 0 },
  };
  const read = NodeModelOffer.safeParse(Object.fromEntries(Object.entries(offer).filter(([, value]) => value !== undefined)));
  return read.success ? [read.data] : [];
}

/** Where nothing but the name tells what a model is for. */
export const looksLikeEmbedder = (id: string): boolean => /embed|(^|[-_/])(bge|gte|e5|minilm)[-_]/i.test(id);

export const EMBEDDER: ModelAbilities = { chat: false, tools: false, vision: false, json: false, embeddings: true };

/** Where nothing but the name tells it: `-4bit`, `-AWQ`, `Q4_K_M`, `FP8`. */
export const quantizationIn = (id: string): string | undefined =>
  /(?:^|[-_./:])((?:I?Q\d(?:_[0-9A-Z]+)*)|\d{1,2}-?bit|awq|gptq|(?:nv|mx)?fp\d{1,2}|bf16|int[48]|w\d+a\d+)(?:$|[-_./:])/i.exec(id)?.[1];

/** The same facts give the same digest on each machine. undefined where one of them is not known: two models could be taken for one. */
export function fingerprintOf(...facts: readonly (string | number | undefined)[]): string | undefined {
  if (facts.some((fact) => fact === undefined || fact === "")) return undefined;
  return `facts:${createHash("sha256").update(JSON.stringify(facts)).digest("hex")}`;
}
