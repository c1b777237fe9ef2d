/**
 * A model of the architecture that llama.cpp is named after, small enough to be made in a moment: its keys, its tensors,
 * and the template by which a conversation becomes a prompt.
 *
 * L1. The same options give the same file, byte for byte.
 */
import { chainWeights } from "./gguf-chain.ts";
import { ALIGNMENT_BYTES, writeGguf, type GgufKey, type GgufTensor } from "./gguf.ts";
import { buildVocabulary, CONTROLS, END_OF_TURN, typesOf, type Vocabulary } from "./gguf-vocabulary.ts";
import { randomWeights, type Shape, type Weights } from "./gguf-weights.ts";

export interface ModelOptions extends Shape {
  readonly name: string;
  readonly answers: "chain" | "random";
  /** Small letters. Of a chain the whole answer. */
  readonly words: readonly string[];
  /** What the model says it was trained for; a server may be given less. */
  readonly contextTokens: number;
  /** Of the matrices; f16 is half as large and as fast as real models are. */
  readonly type: "f32" | "f16";
  /** Tokens that nothing uses. */
  readonly paddingTokens: number;
  readonly seed: number;
  /** Average length of a random model's answer. */
  readonly replyTokens: number;
}

export function writeModel(path: string, options: ModelOptions): void {
  const vocabulary = buildVocabulary(options.words, options.paddingTokens);
  const { answers, seed, replyTokens } = options;
  const weights = answers === "chain" ? chainWeights(options, vocabulary, seed) : randomWeights(options, vocabulary, seed, replyTokens);
  writeGguf(path, keysOf(options, vocabulary), tensorsOf(options, vocabulary.tokens.length, weights));
}

/** Constants of the format: all numbers in F32, or the matrices in F16. */
const FILE_TYPE = { f32: 0, f16: 1 } as const;

function keysOf(options: ModelOptions, vocabulary: Vocabulary): GgufKey[] {
  const { name, type, layers, width, heads, kvHeads, feedForward, contextTokens, answers } = options;
  const texts = vocabulary.tokens.map(({ text }) => text);
  return [
    ["general.architecture", "string", "llama"],
    ["general.type", "string", "model"],
    ["general.name", "string", name],
    ["general.file_type", "u32", FILE_TYPE[type]],
    ["general.alignment", "u32", ALIGNMENT_BYTES],
    ["llama.vocab_size", "u32", texts.length],
    ["llama.context_length", "u32", contextTokens],
    ["llama.embedding_length", "u32", width],
    ["llama.block_count", "u32", layers],
    ["llama.feed_forward_length", "u32", feedForward],
    ["llama.attention.head_count", "u32", heads],
    ["llama.attention.head_count_kv", "u32", kvHeads],
    ["llama.attention.layer_norm_rms_epsilon", "f32", 1e-5],
    ["llama.rope.dimension_count", "u32", width / heads],
    // The usual one, or one so slow that a chain's heads see any distance alike (gguf-chain.ts).
    ["llama.rope.freq_base", "f32", answers === "chain" ? 1e12 : 10_000],
    ["tokenizer.ggml.model", "string", "llama"],
    ["tokenizer.ggml.pre", "string", "default"],
    ["tokenizer.ggml.tokens", "strings", texts],
    ["tokenizer.ggml.scores", "f32s", texts.map((_, id) => -id)],
    ["tokenizer.ggml.token_type", "i32s", typesOf(vocabulary)],
    ["tokenizer.ggml.bos_token_id", "u32", CONTROLS.indexOf("<s>")],
    ["tokenizer.ggml.eos_token_id", "u32", CONTROLS.indexOf(END_OF_TURN)],
    ["tokenizer.ggml.unknown_token_id", "u32", CONTROLS.indexOf("<unk>")],
    ["tokenizer.ggml.padding_token_id", "u32", CONTROLS.indexOf("</s>")],
    ["tokenizer.ggml.add_bos_token", "bool", true],
    ["tokenizer.ggml.add_eos_token", "bool", false],
    ["tokenizer.ggml.add_space_prefix", "bool", false],
    ["tokenizer.chat_template", "string", TEMPLATE],
  ];
}

function tensorsOf(shape: ModelOptions, tokens: number, weights: Weights): GgufTensor[] {
  const { width, heads, kvHeads, feedForward, layers, type } = shape;
  const keys = (width / heads) * kvHeads;
  const tensor = (name: string, columns: number, rows: number, layer = -1): GgufTensor => ({
    name: layer < 0 ? `${name}.weight` : `blk.${layer}.${name}.weight`,
    shape: [columns, rows],
    type,
    numbers: () => weights({ name, layer, columns, rows }),
  });
  const norm = (name: string): GgufTensor => ({
    name: `${name}.weight`,
    shape: [width],
    type: "f32",
    numbers: () => new Float32Array(width).fill(1),
  });
  return [
    ...[tensor("token_embd", width, tokens), tensor("output", width, tokens), norm("output_norm")],
    ...Array.from({ length: layers }, (_, layer) => [
      ...[norm(`blk.${layer}.attn_norm`), tensor("attn_q", width, width, layer), tensor("attn_k", width, keys, layer)],
      ...[tensor("attn_v", width, keys, layer), tensor("attn_output", width, width, layer)],
      ...[norm(`blk.${layer}.ffn_norm`), tensor("ffn_gate", width, feedForward, layer), tensor("ffn_up", width, feedForward, layer)],
      tensor("ffn_down", feedForward, width, layer),
    ]).flat(),
  ];
}

/** ChatML with tools as Hermes and Qwen have them; from it llama-server learns how this model calls tools. */
const TEMPLATE = `{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{{- '<tools>' }}
{%- for tool in tools %}{{- '\\n' + (tool | tojson) }}{%- endfor %}
{{- '\\n</tools><|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- elif message.role == 'assistant' and message.tool_calls %}
{{- '<|im_start|>assistant\\n' }}
{%- if message.content %}{{- message.content + '\\n' }}{%- endif %}
{%- for call in message.tool_calls %}
{%- if call.function %}{%- set call = call.function %}{%- endif %}
{%- if not loop.first %}{{- '\\n' }}{%- endif %}
{{- '<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
{%- if call.arguments is string %}{{- call.arguments }}{%- else %}{{- call.arguments | tojson }}{%- endif %}
{{- '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif not (loop.first and tools and message.role == 'system') %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}`;
