/**
 * Requests for models, as whoever leads remembers the last of them: who asked, where each could have gone and at what cost, where
 * it went, and how that ended.
 *
 * Q1. No word of a prompt or of an answer stands in here: only counts, names and what a server said of a failure.
 * Q2. Every text and every list is bounded, so a record is small whatever was asked.
 */
import { z } from "zod";
import { NodeId } from "./ids.ts";
import { ModelState } from "./models.ts";

export const MODEL_REQUESTS = {
  /** A name as it was asked for: as much as an id, a node and what is between. */
  nameCharsMax: 320,
  /** Of what a server said of a failure, or why nobody answers: a sentence or two. */
  messageCharsMax: 300,
  candidatesMax: 16,
  passedOverMax: 32,
  /** As many places as one request is ever sent to. */
  attemptsMax: 16,
  userCharsMax: 128,
  /** The request of a plan: nobody answers it, so pictures need not be in it. */
  planBytesMax: 1024 * 1024,
} as const;

const Ms = z.number().min(0);
const Count = z.int().min(0);
const Message = z.string().max(MODEL_REQUESTS.messageCharsMax);
const AskedName = z.string().max(MODEL_REQUESTS.nameCharsMax);
const where = { node: NodeId, endpoint: z.string().max(256), model: z.string().max(256) };

/** The router's own, by chance. */
export const ModelRequestId = z
  .string()
  .regex(/^[a-z2-7]{8}$/, "a request's id is 8 characters of a-z and 2-7")
  .brand("ModelRequestId");
export type ModelRequestId = z.infer<typeof ModelRequestId>;

/** What stands between a request and its last token, in milliseconds. `displace` is no wait of its own, but one that it causes. */
export const ModelTerms = z.object({ trip: Ms, queue: Ms, load: Ms, read: Ms, write: Ms, displace: Ms });
export type ModelTerms = z.infer<typeof ModelTerms>;

/** A place that could answer, as it was judged. */
export const ModelCandidateView = z
  .object({
    ...where,
    /** What of the name found it: the name itself, an alias's entry, one of `auto…`. */
    group: AskedName,
    /** Expected. */
    firstTokenMs: Ms,
    endMs: Ms,
    /** Until its end, with the harm to others, weighted: the order within a group but for `because`. */
    costMs: Ms,
    /** Of the prompt. */
    cachedShare: z.number().min(0).max(1),
    state: ModelState,
    terms: ModelTerms,
    /** It is the first, and not for its cost alone: the conversation was here before, or a place with more of the prompt is clearly busier. */
    because: z.enum(["session", "spread"]).optional(),
  })
  .meta({ id: "ModelCandidate" });
export type ModelCandidateView = z.infer<typeof ModelCandidateView>;

/** A place that was not considered. The detail completes "<model> on <node> …". */
export const ModelPassedOver = z.object({ ...where, code: z.string().max(32), detail: Message }).meta({ id: "ModelPassedOver" });
export type ModelPassedOver = z.infer<typeof ModelPassedOver>;

export const ModelRefusalView = z.object({ code: z.string().max(64), message: Message });
export type ModelRefusalView = z.infer<typeof ModelRefusalView>;

/** cut: after its first token. wrong: its server refused the request itself. given_up: whoever asked has left, or the node did not take it. */
export const ModelEnding = z.enum(["answered", "wrong", "given_up", "unreachable", "silent", "faulty", "cut"]);
export type ModelEnding = z.infer<typeof ModelEnding>;

/** A place in whose line it stood, and where it was asked when its turn came. */
export const ModelAttempt = z
  .object({
    ...where,
    /** In line there; 0 while it still stands in it. */
    waitedMs: Ms,
    /** From its turn on. Absent for an answer that comes as one piece. */
    firstTokenMs: Ms.optional(),
    tokens: Count.optional(),
    tokensPerS: z.number().min(0).optional(),
    /** Absent while it is under way. */
    ending: ModelEnding.optional(),
    error: Message.optional(),
  })
  .meta({ id: "ModelAttempt" });
export type ModelAttempt = z.infer<typeof ModelAttempt>;

export const ModelRequestState = z.enum(["waiting", "asked", "answering", "answered", "failed", "given_up"]);
export type ModelRequestState = z.infer<typeof ModelRequestState>;

/** Best first, and those that were not considered. */
const judged = {
  candidates: z.array(ModelCandidateView).max(MODEL_REQUESTS.candidatesMax),
  passedOver: z.array(ModelPassedOver).max(MODEL_REQUESTS.passedOverMax),
  /** Beyond those. */
  passedOverMore: z.int().min(1).optional(),
  /** Nobody answers, and why. */
  refusal: ModelRefusalView.optional(),
};

export const ModelRequestRecord = z
  .object({
    id: ModelRequestId,
    /** Milliseconds since 1970. */
    at: z.int(),
    /** A user, or a node as `node:studio`. */
    user: z.string().max(MODEL_REQUESTS.userCharsMax),
    lane: z.enum(["interactive", "batch"]),
    path: z.string().max(64),
    /** The `model` as it was asked for; empty where that was no text. */
    name: AskedName,
    /** Only this node would do. */
    on: NodeId.optional(),
    /** The estimates that it was judged by. */
    promptTokens: Count,
    outputTokens: Count,
    streams: z.boolean(),
    state: ModelRequestState,
    ...judged,
    attempts: z.array(ModelAttempt).max(MODEL_REQUESTS.attemptsMax),
    endedAt: z.int().optional(),
    /** In lines, all together. */
    waitedMs: Ms,
    /** Another user's: without what servers said of failures, and why it was refused. */
    hidden: z.literal(true).optional(),
  })
  .meta({ id: "ModelRequest" });
export type ModelRequestRecord = z.infer<typeof ModelRequestRecord>;

/** What would happen to a request now. */
export const ModelPlan = z.object(judged);
export type ModelPlan = z.infer<typeof ModelPlan>;

/** A request as it would be sent. `path` says how, where its fields do not: those of embeddings look like a response's. */
export const ModelPlanRequest = z.looseObject({
  model: z.string().min(1).max(MODEL_REQUESTS.nameCharsMax),
  path: z.enum(["/chat/completions", "/responses", "/embeddings"]).optional(),
});
export type ModelPlanRequest = z.infer<typeof ModelPlanRequest>;

/** Newest first. */
export const ModelRequestPage = z.object({ requests: z.array(ModelRequestRecord) });
export type ModelRequestPage = z.infer<typeof ModelRequestPage>;
