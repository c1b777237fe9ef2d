/**
 * What the scripted model answers: pure rules on the words of a turn. A line of the person's message decides:
 *   slow N             N words, one at a time
 *   use tool X {json}  a call of tool X with these arguments, then a sentence with what the tool gave, or the words of `slow N`
 *   fail / fail 400    HTTP 500, or the given status, each time
 *   fail 429 7         the same, with the header Retry-After: 7
 *   anything else      `echo: ` and the message
 */
export interface ChatMessage {
  readonly role: string;
  readonly content?: string | null | readonly { readonly type: string; readonly text?: string }[];
}

export type Reply =
  | { readonly kind: "text"; readonly words: readonly string[]; readonly slow: boolean }
  | { readonly kind: "tool"; readonly callId: string; readonly tool: string; readonly args: string }
  | { readonly kind: "error"; readonly status: number; readonly retryAfter?: string };

/** OpenClaw adds a trailing user message of its own after the person's. */
const INTERNAL = "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>";
const WORDS_MAX = 3_000;

export function replyTo(messages: readonly ChatMessage[]): Reply {
  const text = humanText(messages);
  const fail = /^fail(?: ([45]\d\d)(?: (\d+))?)?$/m.exec(text);
  if (fail !== null) return { kind: "error", status: Number(fail[1] ?? 500), ...(fail[2] !== undefined && { retryAfter: fail[2] }) };

  const slow = /^slow (\d+)$/m.exec(text);
  const tool = /^use tool (\w+) (\{.*\})$/m.exec(text);
  if (tool !== null) {
    const result = toolResult(messages);
    if (result === undefined) return { kind: "tool", callId: "call_1", tool: tool[1]!, args: tool[2]! };
    if (slow === null) return words(`the tool gave ${result}`, false);
  }
  if (slow !== null) {
    const count = Math.min(Number(slow[1]), WORDS_MAX);
    return { kind: "text", words: Array.from({ length: count }, (_, index) => `word${index + 1}`), slow: true };
  }
  return words(`echo: ${text}`, false);
}

function words(text: string, slow: boolean): Reply {
  return { kind: "text", words: text.split(" "), slow };
}

/** The last message of the person, without the time OpenClaw writes before it and the runtime line after it. */
export function humanText(messages: readonly ChatMessage[]): string {
  const index = humanIndex(messages);
  if (index < 0) return "";
  return plain(messages[index]!)
    .replace(/^\[[A-Z][a-z]{2} \d{4}-\d{2}-\d{2} \d{2}:\d{2} [^\]]+\] /, "")
    .replace(/\n\nRuntime: agent=[^\n]*\s*$/, "")
    .trim();
}

/** What a tool gave after the person's last message. */
function toolResult(messages: readonly ChatMessage[]): string | undefined {
  const result = messages.slice(humanIndex(messages) + 1).findLast((message) => message.role === "tool");
  return result === undefined ? undefined : plain(result).slice(0, 500);
}

function humanIndex(messages: readonly ChatMessage[]): number {
  return messages.findLastIndex((message) => message.role === "user" && !plain(message).includes(INTERNAL));
}

export function plain(message: ChatMessage): string {
  if (typeof message.content === "string") return message.content;
  return (message.content ?? []).map((part) => part.text ?? "").join("");
}
