/**
 * What an Ollama has. https://github.com/ollama/ollama/blob/main/docs/api.md
 *
 * O1. Models that run in somebody's cloud under a local name are left out: asking them would leave this machine, and cost money.
 * O2. Each model is asked about once for its digest: /api/show answers with its whole licence and template, 100 KB and more.
 * O3. Of a cold model the context is told only where its file sets it or it was seen loaded: what it was trained with is not what it gets,
 *     and Ollama cuts a prompt that is too long without a word.
 */
import type { ModelAbilities } from "@openclaw-cluster/contract/models";
import { z } from "zod";
import { count, eachOf, EMBEDDER, looksLikeEmbedder, maybe, mustRead, offerOf, readAs, text, type Lister } from "./reading.ts";
import type { ModelServer } from "./model-server.ts";

/** Models that are asked about at once in one look, so that a full disk of them does not hold up the look; the rest come in the next. */
const SHOWS_AT_ONCE = 8;
const SHOWS_A_LOOK = 64;

const Details = z.object({ quantization_level: text, families: maybe(z.array(z.string())) });
const Tag = z.object({
  name: z.string().min(1),
  size: count,
  digest: text,
  details: maybe(Details),
  remote_host: text,
  remote_model: text,
});
/** An empty list is null in some releases. */
const Tags = z.object({ models: eachOf(Tag).nullish() });
const Running = z.object({ models: eachOf(z.object({ name: z.string(), context_length: count })) });
const Show = z.object({
  capabilities: maybe(z.array(z.string())),
  parameters: text,
  template: text,
  remote_host: text,
  remote_model: text,
});
type Tag = z.output<typeof Tag>;
type Show = z.output<typeof Show>;

export function ollamaLister(server: ModelServer, endpoint: string): Lister {
  /** O2. By digest. */
  const shown = new Map<string, Show>();
  /** O3. By digest: as last loaded. */
  const contexts = new Map<string, number>();

  async function show(tags: readonly Tag[]): Promise<void> {
    for (let at = 0; at < Math.min(tags.length, SHOWS_A_LOOK); at += SHOWS_AT_ONCE) {
      await Promise.all(
        tags.slice(at, at + SHOWS_AT_ONCE).map(async (tag) => {
          const said = readAs(Show, await server.hear("/api/show", { body: { model: tag.name } }));
          // One that it cannot show counts as shown with nothing said; asking again would get the same answer.
          shown.set(keyOf(tag), said ?? Show.parse({}));
        }),
      );
    }
  }

  return async () => {
    const [tagged, running] = await Promise.all([server.hear("/api/tags"), server.hear("/api/ps")]);
    const tags = (mustRead(Tags, tagged, "the list of models").models ?? []).filter((tag) => !isElsewhere(tag));
    const loaded = new Map((readAs(Running, running)?.models ?? []).map((one) => [one.name, one.context_length]));
    const known = new Set(tags.map(keyOf));
    for (const key of shown.keys()) if (!known.has(key)) shown.delete(key);
    for (const key of contexts.keys()) if (!known.has(key)) contexts.delete(key);
    await show(tags.filter((tag) => !shown.has(keyOf(tag))));
    return tags.flatMap((tag) => {
      const key = keyOf(tag);
      const said = shown.get(key);
      if (said === undefined || said.remote_host || said.remote_model) return [];
      const asLoaded = loaded.get(tag.name);
      if (asLoaded !== undefined) contexts.set(key, asLoaded);
      return offerOf({
        ...{ id: tag.name, endpoint, server: "ollama", state: loaded.has(tag.name) ? "loaded" : "cold", slots: undefined },
        digest: tag.digest && `sha256:${tag.digest.replace(/^sha256:/, "")}`,
        sizeBytes: tag.size,
        quantization: tag.details?.quantization_level,
        contextTokens: asLoaded ?? contextSetIn(said) ?? contexts.get(key),
        can: abilitiesOf(tag, said),
      });
    });
  };
}

const keyOf = ({ digest, name }: Tag): string => digest ?? name;

/** O1. Older releases say it in the name only. */
const isElsewhere = ({ name, remote_host, remote_model }: Tag): boolean => Boolean(remote_host || remote_model) || /[-:]cloud$/.test(name);

/** `parameters` is text: a name and a value a line. */
function contextSetIn({ parameters }: Show): number | undefined {
  const found = /^num_ctx\s+(\d+)/m.exec(parameters ?? "")?.[1];
  return found === undefined ? undefined : Number(found);
}

/** Releases before May 2025 do not tell capabilities; then template and families do. */
function abilitiesOf({ name, details }: Tag, { capabilities, template = "" }: Show): ModelAbilities {
  if (capabilities !== undefined && capabilities.length > 0) {
    const chat = capabilities.includes("completion");
    const embeddings = capabilities.includes("embedding");
    return { chat, tools: capabilities.includes("tools"), vision: capabilities.includes("vision"), json: chat, embeddings };
  }
  const families = details?.families ?? [];
  if (looksLikeEmbedder(name) || families.some((family) => family.includes("bert"))) return EMBEDDER;
  const vision = families.some((family) => family === "clip" || family === "mllama");
  return { chat: true, tools: template.includes(".Tools"), vision, json: true, embeddings: false };
}
