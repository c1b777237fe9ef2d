import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { lent } from "../../core/models/fixtures.ts";
import { ModelFault, RouteRefusal, type ModelRequest, type ModelRouter, type RoutedAnswer } from "../models.ts";
import { NodeRouter } from "./node-router.ts";

const never = new AbortController().signal;
const REQUEST: ModelRequest = { path: "/chat/completions", body: { model: "m" }, asker: { token: "here" }, lane: "interactive" };

const answering =
  (node: string): ModelRouter["answer"] =>
  async () =>
    ({ status: 200, contentType: "application/json", body: Readable.from([]), node, attempts: 1 }) satisfies RoutedAnswer;
const failing =
  (error: Error): ModelRouter["answer"] =>
  () =>
    Promise.reject(error);
const refusing = (status: number, code: string, whose = ""): ModelRouter["answer"] => failing(new RouteRefusal(status, code, whose));
const AWAY = failing(new ModelFault("unreachable", "the line has ended"));

function routerOf(cluster: ModelRouter["answer"] | undefined, own: ModelRouter["answer"]): NodeRouter {
  const list = (): Promise<never[]> => Promise.resolve([]);
  const router = new NodeRouter({ list, answer: own });
  if (cluster !== undefined) router.cluster = { list, answer: cluster };
  return router;
}
const told = async (router: NodeRouter): Promise<unknown> =>
  router.answer(REQUEST, never).then(
    ({ node }) => node,
    (error: unknown) => (error instanceof RouteRefusal ? [error.code, error.message] : error),
  );

test("the cluster answers, while it is there", async () => {
  expect(await told(routerOf(answering("cluster"), answering("own")))).toBe("cluster");
  expect(await told(routerOf(undefined, answering("own")))).toBe("own");
  expect(await told(routerOf(AWAY, answering("own")))).toBe("own");
});

test("what it does not know is answered here, well or not (N1)", async () => {
  const unknown = refusing(404, "model_not_found", "cluster");
  expect(await told(routerOf(unknown, answering("own")))).toBe("own");
  expect(await told(routerOf(unknown, refusing(404, "model_not_found", "own")))).toEqual(["model_not_found", "cluster"]);
  expect(await told(routerOf(unknown, refusing(400, "context_length_exceeded", "own")))).toEqual(["context_length_exceeded", "own"]);
  expect(await told(routerOf(AWAY, refusing(404, "model_not_found", "own")))).toEqual(["model_not_found", "own"]);
});

test.each(["policy_denied", "overloaded", "node_lost", "context_length_exceeded", "unsupported"])(
  "its other refusals are the answer: %s (N2)",
  async (code) => {
    expect(await told(routerOf(refusing(403, code, "cluster"), answering("own")))).toEqual([code, "cluster"]);
  },
);

test("what is asked on one node alone is never answered by this machine's own models instead (N3)", async () => {
  const request: ModelRequest = { ...REQUEST, lane: "batch", on: "here" as never };
  for (const cluster of [undefined, AWAY]) {
    await expect(routerOf(cluster, answering("own")).answer(request, never)).rejects.toMatchObject({ kind: "unreachable" });
  }
  const unknown = refusing(404, "model_not_found", "cluster");
  await expect(routerOf(unknown, answering("own")).answer(request, never)).rejects.toMatchObject({ code: "model_not_found" });
  expect((await routerOf(answering("cluster"), answering("own")).answer(request, never)).node).toBe("cluster");
});

test("whoever has gone away is not answered here instead", async () => {
  const asked = routerOf(AWAY, answering("own")).answer(REQUEST, AbortSignal.abort());
  await expect(asked).rejects.toMatchObject({ kind: "unreachable" });
});

test("the list has each model once, and this machine's own though the cluster's cannot be had", async () => {
  const [shared, kept, other] = [lent("here", "shared"), lent("here", "kept"), lent("there", "shared")];
  const router = new NodeRouter({ list: async () => [shared, kept], answer: AWAY });
  expect(await router.list()).toEqual([shared, kept]);
  router.cluster = { list: async () => [other, shared], answer: AWAY };
  expect(await router.list()).toEqual([other, shared, kept]);
  router.cluster = { list: () => Promise.reject(new Error("gone")), answer: AWAY };
  expect(await router.list()).toEqual([shared, kept]);
});
