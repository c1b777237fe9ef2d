/** This node's endpoint for the models of all nodes, as programs of this machine find it: its address, its key, and what it lists. */
import { z } from "zod";
import { foldersOf, readSecret, readTextFile } from "../system/folders.ts";

const HOST = "127.0.0.1";
/** A list of what is known already; the way to whoever leads and back is in it. */
const LIST_MS_MAX = 5_000;

const count = z.int().min(1).optional().catch(undefined);
/** Each program has its own word for what a request can have. */
const Listed = z.looseObject({
  id: z.string(),
  context_length: count,
  max_model_len: count,
  meta: z.looseObject({ n_ctx: count }).optional().catch(undefined),
});
const List = z.looseObject({ data: z.array(Listed) });

export interface OwnEndpoint {
  /** With /v1. */
  readonly url: string;
  readonly key: string;
}
export interface ListedModel {
  readonly id: string;
  readonly contextTokens?: number;
}
export type EndpointAnswer =
  | { readonly kind: "answers"; readonly models: readonly ListedModel[] }
  /** What listens there is not ours, or our key is not its own any more. */
  | { readonly kind: "refuses"; readonly reason: string }
  | { readonly kind: "silent"; readonly reason: string };

/** undefined: a daemon of this folder has never opened one. */
export async function ownEndpoint(home: string): Promise<OwnEndpoint | undefined> {
  const { modelsKey, modelsPort } = foldersOf(home);
  const port = Number(await readTextFile(modelsPort)) || undefined;
  const key = await readSecret(modelsKey);
  return port === undefined || key === undefined ? undefined : { url: `http://${HOST}:${port}/v1`, key };
}

export async function askEndpoint({ url, key }: OwnEndpoint): Promise<EndpointAnswer> {
  try {
    const answer = await fetch(`${url}/models`, {
      headers: { authorization: `Bearer ${key}` },
      redirect: "error",
      signal: AbortSignal.timeout(LIST_MS_MAX),
    });
    if (answer.status === 401) return { kind: "refuses", reason: "does not take the key in models.key" };
    const list = answer.ok ? List.safeParse(await answer.json()) : undefined;
    if (list?.success !== true) return { kind: "refuses", reason: `answers ${answer.status}, and not as an endpoint of ours` };
    return { kind: "answers", models: list.data.data.map(toModel) };
  } catch (error) {
    if (error instanceof SyntaxError) return { kind: "refuses", reason: "does not answer as an endpoint of ours" };
    const { name, cause } = error as Error;
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : name;
    return { kind: "silent", reason: name === "TimeoutError" ? `no answer in ${LIST_MS_MAX / 1_000} s` : code };
  }
}

function toModel({ id, context_length: context, max_model_len: longest, meta }: z.infer<typeof Listed>): ListedModel {
  const contextTokens = context ?? longest ?? meta?.n_ctx;
  return { id, ...(contextTokens !== undefined && { contextTokens }) };
}

/** What a request by that name can have at most: each goes where it fits. undefined: not told. */
export function contextOf(name: string, models: readonly ListedModel[]): number | undefined {
  const own = models.find(({ id }) => id === name)?.contextTokens;
  if (own !== undefined || !name.startsWith("auto")) return own;
  const known = models.flatMap(({ contextTokens }) => contextTokens ?? []);
  return known.length === 0 ? undefined : Math.max(...known);
}
