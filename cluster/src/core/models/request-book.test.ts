import type { NodeId } from "@openclaw-cluster/contract/ids";
import { expect, test } from "vitest";
import { lent } from "./fixtures.ts";
import { RequestBook, REQUESTS_KEPT_MAX } from "./request-book.ts";
import type { RequestNotes } from "./request-notes.ts";

const studio = lent("studio", "qwen3:8b");
const gaming = lent("gaming", "Qwen3-8B");

function open(book: RequestBook, id: string, more: { name?: string; user?: string } = {}): RequestNotes {
  const asked = { lane: "interactive", path: "/chat/completions", promptTokens: 1, outputTokens: 1, streams: true } as const;
  return book.open({ ...asked, id, at: 1, user: "ann", name: "auto", ...more }, 0);
}

const ids = (book: RequestBook, filter: Partial<Parameters<RequestBook["list"]>[0]> = {}): string[] =>
  book.list({ limit: 10, ...filter }).map(({ id }) => id);

test("lists the newest first, as many as are wished, and finds each as it stands now", () => {
  const book = new RequestBook();
  const [first] = ["a", "b", "c"].map((id) => open(book, id));
  expect(ids(book)).toEqual(["c", "b", "a"]);
  expect(ids(book, { limit: 2 })).toEqual(["c", "b"]);
  first?.turn(studio, 1);
  expect(book.find("a")?.state).toBe("asked");
  first?.over("answered", 3, 2);
  expect(book.find("a")?.state).toBe("answered");
  expect(ids(book)).toEqual(["c", "b", "a"]);
  expect(book.find("d")).toBeUndefined();
});

test("lists those of a node, of a model by either of its names, and of a user", () => {
  const book = new RequestBook();
  open(book, "a").waits(studio, 1);
  open(book, "b", { user: "bob" }).turn(gaming, 1);
  open(book, "c", { name: "qwen3:8b" });
  expect(ids(book, { node: "studio" as NodeId })).toEqual(["a"]);
  expect(ids(book, { node: "gaming" as NodeId })).toEqual(["b"]);
  expect(ids(book, { model: "qwen3:8b" })).toEqual(["c", "a"]);
  expect(ids(book, { model: "auto" })).toEqual(["b", "a"]);
  expect(ids(book, { user: "bob" })).toEqual(["b"]);
  expect(ids(book, { user: "bob", node: "studio" as NodeId })).toEqual([]);
});

test("B1: forgets those that ended first, and none that is under way", () => {
  const book = new RequestBook();
  const old = open(book, "old");
  const early = open(book, "early");
  for (let n = 0; n < REQUESTS_KEPT_MAX; n++) open(book, `n${n}`).refused("node_lost", "", 1);
  early.refused("node_lost", "", 1);
  // It came before all of those, and ended after them.
  expect(book.find("early")?.state).toBe("failed");
  expect(book.find("n0")).toBeUndefined();
  expect(book.find("n1")?.state).toBe("failed");
  expect(book.find("old")?.state).toBe("waiting");
  expect(ids(book, { limit: 5_000 })).toHaveLength(REQUESTS_KEPT_MAX + 1);
  old.over("given_up", undefined, 2);
  expect(ids(book, { limit: 5_000 })).toHaveLength(REQUESTS_KEPT_MAX);
});
