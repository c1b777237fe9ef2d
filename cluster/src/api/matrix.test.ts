/**
 * Who may call what: every path and verb of the OpenAPI document, for everybody there is; and where it tells of tasks or of requests for models, on one's
 * own and on others'. The document is what the server serves, so a route that nobody thought of fails here, and so does one whose scope
 * the document does not tell.
 */
import { request } from "node:http";
import type { Others } from "@openclaw-cluster/contract/operation";
import { permits, Scope } from "@openclaw-cluster/contract/scopes";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startApi, type Answered, type TestApi } from "../../../tests/support/api-server.ts";
import { deskOf } from "../../../tests/support/model-sight.ts";
import { HER_REQUEST, HERS, payloadOf, plantedRequests, plantTasks } from "../../../tests/support/planted-tasks.ts";
import { createToken } from "../trust/token.ts";

interface Cell {
  readonly method: string;
  readonly path: string;
  readonly scope: Scope | "proof";
  readonly others?: Others | undefined;
}

const VERBS = ["GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS", "HEAD"];
/** What is served beside the document. */
const PLAIN: readonly Cell[] = ["/readyz", "/metrics", "/openapi.json"].map((path) => ({ method: "GET", path, scope: "viewer" }));

let api: TestApi;
let cells: readonly Cell[];
beforeAll(async () => {
  api = await startApi({ models: deskOf(plantedRequests()) });
  const { paths } = (await api.ask({ path: "/openapi.json" })).json as {
    paths: Record<string, Record<string, { "x-scope"?: Cell["scope"]; "x-others"?: Others }>>;
  };
  const told = Object.entries(paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      scope: operation["x-scope"] as Cell["scope"],
      others: operation["x-others"],
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

describe("tasks and requests of one's own and of others", () => {
  /** What a request needs to be carried out, where that is more than a path. */
  const BODIES: Readonly<Record<string, object>> = {
    "/api/v1/tasks/bulk": { action: "retry", filter: { all: true } },
    "/api/v1/tasks/{id}/answer": { decision: "fail" },
  };
  /** They tell of no payload, to anybody. */
  const BARE = ["/api/v1/queue", "/api/v1/tasks/{id}/why"];

  const isRequest = (path: string): boolean => path.startsWith("/api/v1/models/");
  /** What ann has at that path. */
  const hersAt = (path: string): string => (isRequest(path) ? HER_REQUEST : HERS);

  /** On a task of ann's, which is as it was planted, or a request. */
  async function ask({ method, path }: Cell, token: string): Promise<{ status: number; text: string }> {
    plantTasks(api.coordinator);
    const headers = { authorization: `Bearer ${token}` };
    const filled = path.replaceAll(/\{id\}/g, hersAt(path));
    if (path.endsWith("/events")) return readEvents(filled, { ...headers, "last-event-id": "0" });
    const body = method === "GET" ? undefined : (BODIES[path] ?? {});
    return api.ask({ method, path: filled, headers, ...(body !== undefined && { body }) });
  }

  /** Everything that is kept: it is sent at once, and then the stream stays open. */
  function readEvents(path: string, headers: Record<string, string>): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const asked = request({ host: "127.0.0.1", port: api.port, path, headers, agent: false }, (answer) => {
        let text = "";
        answer.setEncoding("utf8");
        answer.on("data", (piece: string) => {
          text += piece;
          if (!text.includes(`id: ${api.coordinator.kept.at(-1)?.id}\n`)) return;
          answer.destroy();
          resolve({ status: answer.statusCode ?? 0, text });
        });
      });
      asked.on("error", reject);
      asked.end();
    });
  }

  const about = (others: Others): Cell[] => cells.filter((cell) => cell.others === others);
  const below = ["viewer", "submitter"] as const;
  const isChange = ({ method }: Cell): boolean => method !== "GET";

  test("the document says for each operation on tasks and requests what becomes of others'", () => {
    const tells = /^\/api\/v1\/(tasks|models\/requests)(\/|$)/;
    const silent = cells.filter(({ path, others }) => tells.test(path) && others === undefined);
    expect(silent.map(({ method, path }) => `${method} ${path}`)).toEqual(["POST /api/v1/tasks"]);
    expect([about("outline").length, about("refused").length, about("absent").length]).toEqual([7, 7, 1]);
  });

  test.each([
    ...Scope.options.map((scope) => ({ scope, user: "ann", whose: "her own" })),
    ...(["operator", "admin"] as const).map((scope) => ({ scope, user: "bob", whose: "another's" })),
  ])("$scope $user: $whose is told whole, and changed where the scope permits", async ({ scope, user }) => {
    const token = api.coordinator.tokenFor(scope, user);
    for (const cell of cells.filter(({ others }) => others !== undefined)) {
      const { status, text } = await ask(cell, token);
      const refused = status === 403;
      expect({ ...cell, refused }).toEqual({ ...cell, refused: !permits(scope, cell.scope as Scope) });
      if (refused) continue;
      const told = text.includes(payloadOf("ann"));
      expect({ ...cell, told }).toEqual({ ...cell, told: !BARE.includes(cell.path) && !cell.path.endsWith("/bulk") && status < 300 });
      expect({ ...cell, his: text.includes(payloadOf("bob")) && !permits(scope, "operator") }).toEqual({ ...cell, his: false });
      if (cell.path.endsWith("/bulk")) expect(api.coordinator.tasks.get(HERS)?.state).toBe("queued");
    }
  });

  test.each(below)("%s bob: another's task is an outline, or refused, or not there", async (scope) => {
    const token = api.coordinator.tokenFor(scope, "bob");
    for (const cell of cells.filter((one) => one.others !== undefined && permits(scope, one.scope as Scope))) {
      const { status, text } = await ask(cell, token);
      const tells = {
        hers: text.includes(`"${hersAt(cell.path)}"`),
        payload: text.includes(payloadOf("ann")),
        hidden: text.includes('"hidden":true'),
      };
      // The report of a bulk names what it has refused.
      const isReport = cell.path.endsWith("/bulk");
      const expected = {
        outline: { status: 200, hers: !cell.path.endsWith("/attempts"), hidden: !BARE.includes(cell.path) },
        refused: { status: isReport ? 200 : 403, hers: isReport, hidden: false },
        absent: { status: 200, hers: false, hidden: false },
      }[cell.others as Others];
      // A queue tells of what waits, and this one is over.
      if (cell.path === "/api/v1/queue") expected.hers = false;
      expect({ ...cell, status, ...tells }).toEqual({ ...cell, ...expected, payload: false });
      if (cell.others === "refused") expect(text).toContain("t1 belongs to ann; for tasks of others a token needs the scope operator.");
      if (isChange(cell)) expect(api.coordinator.tasks.get(HERS)).toMatchObject({ state: "failed", seq: 4 });
    }
  });

  test("her failures are no answer to a filter of his, and nothing else tells of her payloads", async () => {
    for (const scope of below) {
      const headers = { authorization: `Bearer ${api.coordinator.tokenFor(scope, "bob")}` };
      plantTasks(api.coordinator);
      await api.ask({ path: "/api/v1/tasks?alike=agent_failed-00c0ffee", headers });
      expect(api.coordinator.listFilters.at(-1)).toMatchObject({ owner: "bob" });
      expect((await api.ask({ path: "/api/v1/tasks?alike=agent_failed-00c0ffee&owner=ann", headers })).status).toBe(400);
      for (const { path } of cells.filter(({ method, path: its }) => method === "GET" && !/\/(events|logs)$/.test(its))) {
        for (const id of [HERS, HER_REQUEST, "studio"]) {
          const { text } = await api.ask({ path: path.replaceAll(/\{\w+\}/g, id), headers });
          expect({ path, told: text.includes(payloadOf("ann")) }).toEqual({ path, told: false });
        }
      }
    }
  });
});
