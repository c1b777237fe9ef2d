/**
 * What a node and whoever leads say to each other of a request that the node answers by itself (R5 in router.ts). On the node's line the
 * request is first answered with a grant, in headers. Then the node asks its own server, and tells in a second request how that goes, a
 * line of JSON for each: begun, over, failed. That request's answer is what comes next: nothing where all was said, or another answer.
 */
import { z } from "zod";
import { toldHeaders, toldIn } from "./asking-words.ts";
import { MODEL_FAULTS, ModelFault, RouteRefusal, type OwnGrant, type Over } from "../models.ts";

export const OWN_PREFIX = "/own/";
const MESSAGE_CHARS_MAX = 1_000;

/** The node could answer by itself. */
export const OFFER = "x-own";
const GRANT = "x-own-id";

export const grantHeaders = (second: string, { model, endpoint, ...told }: OwnGrant): Record<string, string> => ({
  ...{ [GRANT]: second, "x-model": model, "x-endpoint": endpoint },
  ...toldHeaders(told),
});

/** `second`: the id of the second request. */
export type Granted = OwnGrant & { readonly second: string };

export function grantIn(headers: Readonly<Record<string, string>>): Granted | undefined {
  const { [GRANT]: second, "x-model": model = "", "x-endpoint": endpoint = "" } = headers;
  return second === undefined ? undefined : { second, model, endpoint, ...toldIn(headers) };
}

const Fault = z.object({
  kind: z.enum(MODEL_FAULTS).catch("garbage"),
  message: z.string().transform((text) => text.slice(0, MESSAGE_CHARS_MAX)),
});
const Refused = z.object({
  status: z.int().min(400).max(599),
  code: z.string().max(64),
  message: Fault.shape.message,
  retryAfterMs: z.int().min(0).optional(),
});
const tokens = z.int().min(0).max(100_000_000);

export const OwnWord = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("begun") }),
  z.object({ kind: z.literal("over"), how: z.enum(["answered", "wrong", "left"]), tokens }),
  z.object({ kind: z.literal("cut"), fault: Fault }),
  z.object({ kind: z.literal("failed"), fault: Fault.optional(), refused: Refused.optional() }),
]);
export type OwnWord = z.infer<typeof OwnWord>;

export function overWord(over: Over): OwnWord {
  if (over.how === "cut") return { kind: "cut", fault: { kind: over.fault.kind, message: over.fault.message } };
  return { kind: "over", how: over.how, tokens: over.tokens };
}

export function failedWord(error: unknown): OwnWord {
  if (error instanceof RouteRefusal) {
    const { status, code, message, retryAfterMs } = error;
    return { kind: "failed", refused: { status, code, message, ...(retryAfterMs !== undefined && { retryAfterMs }) } };
  }
  if (error instanceof ModelFault) return { kind: "failed", fault: { kind: error.kind, message: error.message } };
  return { kind: "failed", fault: { kind: "garbage", message: String(error) } };
}

export const faultOf = ({ kind, message }: z.infer<typeof Fault>): ModelFault => new ModelFault(kind, message);

export function failureIn({ fault, refused }: Extract<OwnWord, { kind: "failed" }>): Error {
  if (refused !== undefined) {
    const { status, code, message, retryAfterMs } = refused;
    return new RouteRefusal(status, code, message, retryAfterMs === undefined ? {} : { retryAfterMs });
  }
  return faultOf(fault ?? { kind: "garbage", message: "its own server did not answer" });
}
