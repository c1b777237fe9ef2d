/**
 * Who may call what: every path and verb of the OpenAPI document, for everybody there is. The document is what the server serves, so
 * a route that nobody thought of fails here, and so does one whose scope the document does not tell.
 */
import { permits, Scope } from "@openclaw-cluster/contract/scopes";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startApi, type Answered, type TestApi } from "../../../tests/support/api-server.ts";
import { createToken } from "../trust/token.ts";

interface Cell {
  readonly method: string;
  readonly path: string;
  readonly scope: Scope | "proof";
}

const VERBS = ["GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS", "HEAD"];
/** What is served beside the document. */
const PLAIN: readonly Cell[] = ["/readyz", "/metrics", "/openapi.json"].map((path) => ({ method: "GET", path, scope: "viewer" }));

let api: TestApi;
let cells: readonly Cell[];
beforeAll(async () => {
  api = await startApi();
  const { paths } = (await api.ask({ path: "/openapi.json" })).json as {
    paths: Record<string, Record<string, { "x-scope"?: Cell["scope"] }>>;
  };
  const told = Object.entries(paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      scope: operation["x-scope"] as Cell["scope"],
    })),
  );
  cells = [...told, ...PLAIN];
});
afterAll(() => api.close());

/** A request that would be let in, were it from the right one: what is wrong with its fields is judged after who sends it. */
const knock = ({ method, path }: Pick<Cell, "method" | "path">, token: string | undefined): Promise<Answered> =>
  api.ask({
    method,
    path: path.replaceAll(/\{\w+\}/g, "none1"),
    headers: { authorization: token === undefined ? undefined : `Bearer ${token}` },
    ...(method !== "GET" && { body: {} }),
  });

test("the document tells of each operation whom it is for, and these alone want no token", () => {
  expect(cells.length).toBeGreaterThan(35);
  expect(cells.filter(({ scope }) => scope !== "proof" && !Scope.safeParse(scope).success)).toEqual([]);
  expect(cells.filter(({ scope }) => scope === "proof").map(({ path }) => path)).toEqual([
    "/api/v1/join",
    ...["session", "probe", "leave", "key"].map((act) => `/api/v1/nodes/{id}/${act}`),
  ]);
});

describe("every cell", () => {
  test("nobody gets past the gate without a token", async () => {
    for (const cell of cells.filter(({ scope }) => scope !== "proof")) {
      expect({ ...cell, status: (await knock(cell, undefined)).status }).toEqual({ ...cell, status: 401 });
    }
  });

  test.each(Scope.options)("with the scope %s: what it permits is let in, and nothing else", async (held) => {
    for (const cell of cells) {
      const { scope } = cell;
      // Open streams would be waited for; that a viewer gets them is tried in streams.test.ts.
      if (scope !== "proof" && permits(held, scope) && /\/(events|logs)$/.test(cell.path)) continue;
      const { status } = await knock(cell, api.tokens[held]);
      const refused = status === 401 || status === 403;
      expect({ ...cell, held, refused }).toEqual({ ...cell, held, refused: scope !== "proof" && !permits(held, scope) });
      expect(status).toBeLessThan(500);
    }
  });

  test("no verb that the document does not name does anything, whoever asks", async () => {
    // `/tasks/bulk` is also a `/tasks/{id}`, if none that there is.
    const known = (verb: string, path: string): boolean =>
      cells.some((cell) => cell.method === verb && new RegExp(`^${cell.path.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(path));
    for (const path of new Set(cells.map((cell) => cell.path))) {
      for (const method of VERBS.filter((verb) => !known(verb, path))) {
        const { status } = await knock({ method, path }, api.tokens.admin);
        expect({ path, method, status }).toEqual({ path, method, status: 405 });
      }
    }
  });
});

test("of a token that is made up, nothing is said but that it is none", async () => {
  const own = await startApi();
  const { status, json } = await own.ask({ path: "/api/v1/audit", headers: { authorization: `Bearer ${createToken().token}` } });
  expect([status, json.code]).toEqual([401, "unauthorized"]);
  await own.close();
});
