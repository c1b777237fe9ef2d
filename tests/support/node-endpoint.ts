/** A node's endpoint for models (OpenAI's API on its loopback), asked with its own key, as its owner's programs do. */
import { readFile } from "node:fs/promises";
import path from "node:path";

export interface Told {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** undefined: it is none. */
  readonly json: unknown;
}

export interface NodeEndpoint {
  /** Without a path. */
  readonly url: string;
  readonly key: string;
  /** As it comes. Without a body it is a GET; a text is sent as it is. */
  open(place: string, body?: object | string, more?: RequestInit): Promise<Response>;
  ask(place: string, body?: object | string, more?: RequestInit): Promise<Told>;
  /** The names in /v1/models. */
  listed(): Promise<readonly string[]>;
}

export async function nodeEndpoint({ home }: { readonly home: string }): Promise<NodeEndpoint> {
  const port = (await readFile(path.join(home, "data", "models.port"), "utf8")).trim();
  return endpointAt(`http://127.0.0.1:${port}`, (await readFile(path.join(home, "models.key"), "utf8")).trim());
}

/** Also that of the cluster's API, with a token. */
export function endpointAt(url: string, key: string): NodeEndpoint {
  const open: NodeEndpoint["open"] = (place, body, { headers, ...more } = {}) =>
    fetch(`${url}${place}`, {
      method: body === undefined ? "GET" : "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...(headers as Record<string, string>) },
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
      ...more,
    });
  const ask: NodeEndpoint["ask"] = async (place, body, more) => {
    const answer = await open(place, body, more);
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, text, json: parsed(text) };
  };
  return {
    ...{ url, key, open, ask },
    async listed() {
      const { data } = (await ask("/v1/models")).json as { data: readonly { id: string }[] };
      return data.map(({ id }) => id);
    },
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
