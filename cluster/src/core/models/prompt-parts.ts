/**
 * A request's prompt as a list of parts in the order in which a model reads them: system, tools, messages. Made once for a
 * request, then counted (model-needs.ts) and hashed (prefix-chain.ts).
 *
 * R1. Nothing in a body is believed: what has another type than expected is taken as data like any other, or left out.
 * R2. Depth and size of a body cannot overflow the stack: it is walked with a list.
 * R3. Up to R4's limit, the same body gives the same parts, and a body with one more message gives those of the shorter one, and more.
 * R4. There are never more than PROMPT_PARTS_MAX + 2 of them, whatever a body holds, so that nothing that is done with them takes long.
 *     With more than PROMPT_PARTS_MAX the body is to be refused: what is behind them was not read.
 */

/**
 * Ten thousand messages with what tools were called for in them, or a thousand tools. What is done with so many (to count and to hash
 * them) takes whoever leads some 50 ms, in which nobody else is answered; sixteen megabytes can hold ten millions.
 */
export const PROMPT_PARTS_MAX = 131_072;

export type PromptKind = "chat" | "responses" | "embeddings";

export type PromptPart =
  | { readonly kind: "text"; readonly text: string }
  /** Its data, or where it is. */
  | { readonly kind: "image"; readonly text: string }
  | { readonly kind: "message"; readonly role: string }
  | { readonly kind: "tool" }
  /** One text to embed, or, of tokens that were counted already, how many. */
  | { readonly kind: "input"; readonly tokens: number };

export type Fields = Readonly<Record<string, unknown>>;

export function promptParts(path: PromptKind, body: unknown): PromptPart[] {
  const parts: PromptPart[] = [];
  const fields = fieldsOf(body);
  switch (path) {
    case "chat":
      addConversation(parts, fields["messages"], fields["tools"] ?? fields["functions"], undefined);
      break;
    case "responses":
      addConversation(parts, fields["input"], fields["tools"], fields["instructions"]);
      break;
    case "embeddings":
      addInputs(parts, fields["input"]);
      break;
  }
  return parts;
}

export function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

const SYSTEM_ROLES: ReadonlySet<unknown> = new Set(["system", "developer"]);

/** Chat templates put the tools behind the first system message, so they are read before the conversation. */
function addConversation(parts: PromptPart[], said: unknown, tools: unknown, instructions: unknown): void {
  const messages = typeof said === "string" ? [{ role: "user", content: said }] : listOf(said);
  const leading = SYSTEM_ROLES.has(fieldsOf(messages[0])["role"]) ? 1 : 0;
  if (typeof instructions === "string") addMessage(parts, { role: "system", content: instructions });
  for (const message of messages.slice(0, leading)) addMessage(parts, message);
  for (const tool of listOf(tools)) {
    if (isFull(parts)) break;
    parts.push({ kind: "tool" });
    addData(parts, tool);
  }
  for (const message of messages.slice(leading)) {
    if (isFull(parts)) break;
    addMessage(parts, message);
  }
}

/** R4. */
const isFull = (parts: readonly PromptPart[]): boolean => parts.length > PROMPT_PARTS_MAX;

function addMessage(parts: PromptPart[], message: unknown): void {
  const { role, type } = fieldsOf(message) as { role?: unknown; type?: unknown };
  parts.push({ kind: "message", role: typeof role === "string" ? role : typeof type === "string" ? type : "" });
  addData(parts, message);
}

/** Of a message and its parts these say how to read the rest, which the template does not show to the model. */
const UNSEEN_FIELDS: ReadonlySet<string> = new Set(["type", "role", "detail", "cache_control"]);
const IMAGE_TYPES: ReadonlySet<unknown> = new Set(["image_url", "input_image", "image"]);

/** Every text in it, and the names of fields that a template prints with it, in order (R2). */
function addData(parts: PromptPart[], data: unknown): void {
  const ahead: unknown[] = [data];
  while (ahead.length > 0 && !isFull(parts)) {
    const value = ahead.pop();
    if (typeof value === "string") parts.push({ kind: "text", text: value });
    else if (typeof value === "number" || typeof value === "boolean") parts.push({ kind: "text", text: String(value) });
    else if (Array.isArray(value)) for (let at = Math.min(value.length, PROMPT_PARTS_MAX + 1) - 1; at >= 0; at--) ahead.push(value[at]);
    else if (typeof value === "object" && value !== null) addFields(parts, ahead, value as Fields);
  }
}

const CONTENT_FIELDS: ReadonlySet<string> = new Set(["content", "text"]);

function addFields(parts: PromptPart[], ahead: unknown[], fields: Fields): void {
  if (IMAGE_TYPES.has(fields["type"])) {
    parts.push({ kind: "image", text: imageText(fields) });
    return;
  }
  const inOrder: unknown[] = [];
  // A JSON schema's `type` is not that of a content part: it stands beside no text of its own and is printed.
  const isPart = "role" in fields || CONTENT_FIELDS.has(textFieldOf(fields));
  for (const [name, value] of Object.entries(fields)) {
    if (isPart && UNSEEN_FIELDS.has(name)) continue;
    if (!CONTENT_FIELDS.has(name)) inOrder.push(name);
    inOrder.push(value);
  }
  for (let at = inOrder.length - 1; at >= 0; at--) ahead.push(inOrder[at]);
}

function textFieldOf(fields: Fields): string {
  return typeof fields["text"] === "string" ? "text" : "content" in fields ? "content" : "";
}

function imageText(fields: Fields): string {
  const image = fields["image_url"] ?? fields["image"] ?? fields["file_id"];
  const url = typeof image === "string" ? image : fieldsOf(image)["url"];
  return typeof url === "string" ? url : "";
}

/** A string, strings, tokens, or lists of tokens. */
function addInputs(parts: PromptPart[], input: unknown): void {
  const inputs = typeof input === "string" || listOf(input).some((one) => typeof one === "number") ? [input] : listOf(input);
  for (const one of inputs) {
    if (isFull(parts)) break;
    if (typeof one === "string") parts.push({ kind: "input", tokens: 0 }, { kind: "text", text: one });
    else parts.push({ kind: "input", tokens: listOf(one).length });
  }
}
