/**
 * What a llama-server (llama.cpp) has: one model, or, as a router, a folder of them. Measured with 0.7.0.
 *
 * C1. Nobody is woken: GET /slots loads the model of a server that sleeps, so it is asked for only when /props has just said that it does not,
 *     and only where /metrics, which wakes nobody, is not to be had. A model of a router that is not loaded is asked about nothing.
 * C2. /props, /metrics and /slots can each be switched off; then what only they say is not known.
 * C3. /metrics and /slots are answered between two batches, seconds late while a long prompt is read. That is no sign of being ill: the
 *     number from before stands.
 * C4. Its release tells no digest, and the file may not be ours to read. Size and weights alone do not name it: all that was trained from
 *     one model has the same ones. So its file's name is a part of its fingerprint.
 */
import type { ModelState } from "@openclaw-cluster/contract/models";
import { z } from "zod";
import { ModelFault } from "../models.ts";
import {
  count,
  eachOf,
  EMBEDDER,
  fingerprintOf,
  flag,
  looksLikeEmbedder,
  maybe,
  mustRead,
  offerOf,
  readAs,
  text,
  type Known,
  type Lister,
} from "./reading.ts";
import type { Heard, ModelServer } from "./model-server.ts";

const Meta = z.object({ n_ctx: count, n_params: count, size: count, ftype: text });
const Entry = z.object({ id: z.string().min(1), meta: maybe(Meta), status: maybe(z.object({ value: text })) });
const Models = z.object({ data: eachOf(Entry) });
const Props = z.object({
  total_slots: count,
  is_sleeping: flag,
  build_info: text,
  model_ftype: text,
  model_path: text,
  modalities: maybe(z.object({ vision: flag })),
  chat_template_caps: maybe(z.object({ supports_tools: flag, supports_tool_calls: flag })),
  default_generation_settings: maybe(z.object({ n_ctx: count })),
});
const Slots = z.array(z.object({ is_processing: z.boolean() }));
type Entry = z.output<typeof Entry>;
type Props = z.output<typeof Props>;

/** C3. Between two batches of a machine that is quick enough; a longer wait would only hold up the next look. */
const BUSY_MS = 1_000;
/** Statuses of a switch that is off, or of a server that never had it. */
const OFF = new Set([401, 403, 404, 501]);
const LOADING = 503;

/** What sits behind a proxy does not bear the header, but tells its build. */
export const isLlamaCpp = (props: Heard): boolean => readAs(Props, props)?.build_info !== undefined;

export function llamaCppLister(server: ModelServer, endpoint: string): Lister {
  const off = new Set<string>();
  /** C3. By model. */
  const busyBefore = new Map<string, number>();
  /** By model: a server that sleeps may say less. */
  const before = new Map<string, Known>();

  async function readBusy(way: string, query: string, read: (heard: Heard) => number | undefined): Promise<number | undefined> {
    if (off.has(way)) return undefined;
    const heard = await server.hear(`${way}${query}`, { limitMs: BUSY_MS });
    if (OFF.has(heard.status)) off.add(way);
    return heard.status === 200 ? read(heard) : undefined;
  }

  /** C1, C3 */
  async function busyOf(id: string, query: string, { is_sleeping: sleeps }: Props): Promise<number> {
    if (sleeps === true) return 0;
    try {
      const busy =
        (await readBusy("/metrics", query, processing)) ??
        (sleeps === false ? await readBusy("/slots", query, processingSlots) : undefined);
      if (busy !== undefined) busyBefore.set(id, busy);
    } catch (error) {
      if (!(error instanceof ModelFault) || error.kind !== "silent") throw error;
    }
    return busyBefore.get(id) ?? 0;
  }

  async function offer(entry: Entry): Promise<Known> {
    const state = stateOf(entry);
    // C1
    if (state !== "loaded") return { ...(before.get(entry.id) ?? knownOf(entry, undefined, endpoint)), state, slots: undefined };
    const query = entry.status === undefined ? "" : `?model=${encodeURIComponent(entry.id)}&autoload=false`;
    const props = readAs(Props, await server.hear(`/props${query}`));
    const total = props?.total_slots;
    const slots = props === undefined || total === undefined ? undefined : { total, busy: await busyOf(entry.id, query, props) };
    const seen = props?.is_sleeping === true ? before.get(entry.id) : undefined;
    const known = { ...(seen ?? knownOf(entry, props, endpoint)), slots };
    before.set(entry.id, known);
    return { ...known, state: props?.is_sleeping === true ? "cold" : "loaded" };
  }

  return async () => {
    const heard = await server.hear("/v1/models");
    // It is there, and cannot name its model before it has it.
    if (heard.status === LOADING) return [];
    const { data } = mustRead(Models, heard, "the list of models");
    const known = await Promise.all(data.map(offer));
    for (const id of before.keys()) if (!data.some((entry) => entry.id === id)) before.delete(id);
    return known.flatMap(offerOf);
  };
}

/** Only a router's models have a status; one that failed is tried again by the next request. */
function stateOf({ status }: Entry): ModelState {
  if (status === undefined || status.value === "loaded") return "loaded";
  return status.value === "loading" ? "loading" : "cold";
}

function knownOf({ id, meta }: Entry, props: Props | undefined, endpoint: string): Known {
  const caps = props?.chat_template_caps;
  const ftype = meta?.ftype ?? props?.model_ftype;
  // Whether it computes embeddings is not to be seen from outside; one whose name says so was hardly started for anything else.
  const embeds = looksLikeEmbedder(id);
  const tools = caps === undefined || (caps.supports_tools !== false && caps.supports_tool_calls !== false);
  return {
    ...{ id, endpoint, server: "llamacpp", state: "loaded", slots: undefined },
    digest: fingerprintOf("llamacpp", fileOf(props?.model_path ?? id), meta?.size, meta?.n_params, ftype),
    sizeBytes: meta?.size,
    quantization: ftype,
    // Both are what one slot has, not their sum.
    contextTokens: meta?.n_ctx ?? props?.default_generation_settings?.n_ctx,
    can: embeds ? EMBEDDER : { chat: true, tools, vision: props?.modalities?.vision ?? false, json: true, embeddings: false },
  };
}

/** C4. Without its folder, which is another one on each machine. */
const fileOf = (path: string): string => (path.split(/[/\\]/).at(-1) ?? "").toLowerCase().replace(/\.gguf$/, "");

function processing({ text: metrics }: Heard): number | undefined {
  const found = /^llamacpp:requests_processing(?:\{[^}]*\})?\s+([\d.]+)/m.exec(metrics)?.[1];
  return found === undefined ? undefined : Number(found);
}

const processingSlots = (heard: Heard): number | undefined => readAs(Slots, heard)?.filter((slot) => slot.is_processing).length;
