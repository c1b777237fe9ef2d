/**
 * What a task of kind `model` asks: one request to one language model that a node lends. A batch is many of them.
 */
import { z } from "zod";
import { Json } from "./json.ts";
import { schemaFault } from "./schema-form.ts";

/** As the router takes them: an id of 256 characters, a node's of 32, and what is between. */
const NAME_CHARS_MAX = 320;
/** About 50,000 tokens: more than most models at home read at once. */
const TEXT_CHARS_MAX = 200_000;
const MESSAGES_MAX = 256;
/** As many as OpenAI's API takes in one request. */
const EMBED_TEXTS_MAX = 2_048;
/** Beyond every model's context. */
const TOKENS_MAX = 1_000_000;
/** OpenAI's limits. */
const STOPS_MAX = 4;
const STOP_CHARS_MAX = 256;
const TEMPERATURE_MAX = 2;

const Words = z.string().max(TEXT_CHARS_MAX);
const Stop = z.string().min(1).max(STOP_CHARS_MAX);

const Message = z.strictObject({ role: z.enum(["system", "user", "assistant"]), content: Words });

export const ModelInput = z
  .strictObject({
    /** A model's id as its server lists it, `id@node`, or `auto`; `auto` unless said, `auto:embed` where `embed` is given. No alias. */
    model: z
      .string()
      .min(1)
      .max(NAME_CHARS_MAX)
      .refine((name) => !name.includes("://"), "a model's name, not an address")
      .optional(),
    /** What the model is asked. One of `prompt`, `messages` and `embed` is given. */
    prompt: Words.min(1).optional(),
    /** How it shall answer; with `prompt` only. */
    system: Words.optional(),
    /** A conversation instead, which the model goes on with. */
    messages: z.array(Message).min(1).max(MESSAGES_MAX).optional(),
    /** A text, or several, to be made into vectors instead. */
    embed: z.union([Words.min(1), z.array(Words.min(1)).min(1).max(EMBED_TEXTS_MAX)]).optional(),
    /** A JSON schema: the answer is JSON that holds to it, or the attempt has failed. */
    schema: z.record(z.string(), Json).optional(),
    /** The most that it writes; until it ends by itself unless said. Tokens. */
    maxTokens: z.int().min(1).max(TOKENS_MAX).optional(),
    /** 0: the likeliest word each time. As its server has it unless said. */
    temperature: z.number().min(0).max(TEMPERATURE_MAX).optional(),
    /** With the same one the same answer, where its server can do that. */
    seed: z.int().min(0).optional(),
    /** Where the model writes one of these it ends. */
    stop: z.union([Stop, z.array(Stop).min(1).max(STOPS_MAX)]).optional(),
  })
  .superRefine(({ prompt, system, messages, embed, schema, ...how }, context) => {
    const complain = (message: string, path: (string | number)[] = []): void => context.addIssue({ code: "custom", message, path });
    if ([prompt, messages, embed].filter((one) => one !== undefined).length !== 1) complain("give one of prompt, messages and embed");
    if (system !== undefined && prompt === undefined) complain("goes with prompt only", ["system"]);
    const { model: _its, ...chat } = { ...how, schema };
    for (const [name, value] of Object.entries(chat))
      if (embed !== undefined && value !== undefined) complain("goes with a chat only", [name]);
    const fault = schema && schemaFault(schema);
    if (fault !== undefined) complain(fault.message, ["schema", ...fault.path]);
  })
  .meta({ id: "ModelInput" });
export type ModelInput = z.infer<typeof ModelInput>;
