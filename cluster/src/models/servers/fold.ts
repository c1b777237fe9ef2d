/**
 * A stream of chat.completion.chunk folded into the one chat.completion that was asked for.
 *
 * F1. Texts and tool calls are put together by the index of their choice and call, in the order in which they came.
 * F2. What is put together has a limit; a model that never stops is given up with what it said.
 * F3. An error inside the stream becomes the answer, with the status that it names.
 */
import { z } from "zod";
import { ModelFault } from "../models.ts";
import { count, eachOf, maybe, text } from "./reading.ts";
import { jsonOf } from "../../system/json-of.ts";
import { DONE } from "./passing.ts";

/** As much as a context of two million tokens; no caller that wants it whole has more memory for it. */
export const FOLDED_BYTES_MAX = 8 * 1024 * 1024;
/** What one entry of a list costs beside its text, roughly: many empty ones are many too. */
const ENTRY_BYTES = 64;

/** What models say beside the answer has two names. */
const TEXTS = ["content", "reasoning_content", "reasoning", "refusal"] as const;

const CallPart = z.object({ index: count, id: text, type: text, function: maybe(z.object({ name: text, arguments: text })) });
const Delta = z.object({
  role: text,
  content: text,
  reasoning_content: text,
  reasoning: text,
  refusal: text,
  tool_calls: maybe(eachOf(CallPart)),
});
const Choice = z.object({
  index: count,
  delta: maybe(Delta),
  finish_reason: text,
  logprobs: maybe(z.object({ content: maybe(z.array(z.unknown())) })),
});
const Chunk = z.object({
  id: text,
  created: count,
  model: text,
  system_fingerprint: text,
  choices: maybe(eachOf(Choice)),
  usage: maybe(z.looseObject({})),
  error: z.unknown().optional(),
});
type CallPart = z.output<typeof CallPart>;

interface Call {
  readonly id: string | undefined;
  readonly type: string;
  name: string;
  readonly pieces: string[];
}

interface Said {
  role: string;
  readonly texts: Map<(typeof TEXTS)[number], string[]>;
  readonly calls: Call[];
  /** By its index: the call that its next piece belongs to. */
  readonly open: Map<number, Call>;
  finish: string | null;
  readonly logprobs: unknown[];
}

type Head = Pick<z.output<typeof Chunk>, "id" | "created" | "model" | "system_fingerprint">;

export class Fold {
  private readonly choices = new Map<number, Said>();
  private head: Head | undefined;
  private usage: object | undefined;
  private error: unknown;
  private bytes = 0;

  /** One event's data. Throws ModelFault. */
  take(data: string): void {
    if (data === DONE) return;
    const read = Chunk.safeParse(jsonOf(data));
    if (!read.success) throw new ModelFault("garbage", "an event is not understood");
    const { choices = [], usage, error, ...head } = read.data;
    this.head ??= head;
    this.error ??= error;
    this.usage = usage ?? this.usage;
    for (const choice of choices) {
      const said = this.saidAt(choice.index ?? 0);
      said.finish = choice.finish_reason ?? said.finish;
      if (choice.delta !== undefined) this.add(said, choice.delta);
      for (const one of choice.logprobs?.content ?? []) {
        this.weigh(JSON.stringify(one));
        said.logprobs.push(one);
      }
    }
  }

  result(): { readonly status: number; readonly json: object } {
    // F3
    if (this.error !== undefined) return { status: statusIn(this.error), json: { error: this.error } };
    const choices = [...this.choices].sort(([a], [b]) => a - b).map(([index, said]) => ({ index, ...whole(said) }));
    return {
      status: 200,
      json: { object: "chat.completion", ...this.head, choices, ...(this.usage !== undefined && { usage: this.usage }) },
    };
  }

  private saidAt(index: number): Said {
    const known = this.choices.get(index);
    if (known !== undefined) return known;
    this.weigh("");
    const said: Said = { role: "assistant", texts: new Map(), calls: [], open: new Map(), finish: null, logprobs: [] };
    this.choices.set(index, said);
    return said;
  }

  private add(said: Said, delta: z.output<typeof Delta>): void {
    said.role = delta.role ?? said.role;
    for (const name of TEXTS) {
      const piece = delta[name];
      if (piece === undefined || piece === "") continue;
      this.weigh(piece);
      const pieces = said.texts.get(name);
      if (pieces === undefined) said.texts.set(name, [piece]);
      else pieces.push(piece);
    }
    for (const part of delta.tool_calls ?? []) this.addCall(said, part);
  }

  /** F1. Some servers give each of several calls, whole, the same index; then a new id with a name begins a new one. */
  private addCall(said: Said, { index = 0, id, type, function: called }: CallPart): void {
    this.weigh(called?.arguments ?? "");
    let call = said.open.get(index);
    const isNew = call === undefined || (id !== undefined && id !== "" && id !== call.id && Boolean(called?.name));
    if (call === undefined || isNew) {
      call = { id, type: type ?? "function", name: "", pieces: [] };
      said.open.set(index, call);
      said.calls.push(call);
    }
    if (called?.name && call.name === "") call.name = called.name;
    if (called?.arguments) call.pieces.push(called.arguments);
  }

  /** F2 */
  private weigh(piece: string): void {
    this.bytes += Buffer.byteLength(piece) + (piece === "" ? ENTRY_BYTES : 0);
    if (this.bytes > FOLDED_BYTES_MAX) throw new ModelFault("too_large", `an answer of more than ${FOLDED_BYTES_MAX} bytes`);
  }
}

function whole({ role, texts, calls, finish, logprobs }: Said): object {
  const joined = Object.fromEntries([...texts].map(([name, pieces]) => [name, pieces.join("")]));
  const tools = calls.map(({ id, type, name, pieces }, at) => ({
    id: id ?? `call_${at}`,
    type,
    function: { name, arguments: pieces.join("") },
  }));
  return {
    message: { role, content: tools.length === 0 ? "" : null, ...joined, ...(tools.length > 0 && { tool_calls: tools }) },
    finish_reason: finish,
    ...(logprobs.length > 0 && { logprobs: { content: logprobs } }),
  };
}

const Coded = z.object({ code: z.int().min(400).max(599) });

function statusIn(error: unknown): number {
  const read = Coded.safeParse(error);
  return read.success ? read.data.code : 500;
}
