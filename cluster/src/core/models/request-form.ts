/**
 * What no request may hold, whoever asks.
 *
 * F1. No request says where anything is fetched from: not its model's server, and not a picture, which servers would fetch from the
 *     network of the machine that lends.
 * F2. What is too long to be judged is not judged.
 */
import { fieldsOf, listOf, PROMPT_PARTS_MAX, type PromptPart } from "./prompt-parts.ts";

/** With which other gateways let a caller choose the server. */
const SERVER_FIELDS = ["base_url", "api_base", "api_key", "endpoint", "url"];
/** `image_url`, and vLLM's `video_url` and `audio_url`; `file_url` of responses. */
const URL_FIELD = /(?:^|_)url$/;
/** Any scheme but that of data which the request brings along. */
const ADDRESS = /^\s*(?!data:)[a-z][a-z\d+.-]*:/i;

/** What is wrong, for people; undefined: nothing. */
export function objection(body: Readonly<Record<string, unknown>>, parts: readonly PromptPart[]): string | undefined {
  if (parts.length > PROMPT_PARTS_MAX) return `A prompt has at most ${PROMPT_PARTS_MAX} texts, names and numbers.`;
  const field = SERVER_FIELDS.find((name) => name in body);
  if (field !== undefined) return `${field}: where a model is says each node's own settings, and no request.`;
  if (hasAddress(body["messages"]) || hasAddress(body["input"]))
    return "A picture or a file comes along as data:…; what an address leads to is fetched for no request.";
  return undefined;
}

/** In the parts of messages, and in what stands beside them. */
function hasAddress(said: unknown): boolean {
  return listOf(said).some((item) => isAddressed(item) || listOf(fieldsOf(item)["content"]).some(isAddressed));
}

/** What has no type is a message, of which every field is a text for the model. */
function isAddressed(part: unknown): boolean {
  const fields = fieldsOf(part);
  return typeof fields["type"] === "string" && Object.entries(fields).some(([name, value]) => URL_FIELD.test(name) && leadsAway(value));
}

function leadsAway(value: unknown): boolean {
  const url = typeof value === "string" ? value : fieldsOf(value)["url"];
  return typeof url === "string" && ADDRESS.test(url);
}
