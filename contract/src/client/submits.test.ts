import { expect, test } from "vitest";
import { ClusterError, toProblem, type ErrorCode } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { TaskSpec } from "../task-spec.ts";
import { SUBMITS, Submits } from "./submits.ts";
import { ConnectionBroken, type Channel, type HttpReply, type HttpRequest } from "./transport.ts";

const spec = (value: string): TaskSpec => ({ kind: "echo", input: { value } });

interface Post {
  readonly values: string[];
  readonly key: string | undefined;
  answer(): void;
  refuse(code: ErrorCode): void;
  breakOff(): void;
}

/** A channel whose answers are given by hand; tasks are called as their values. */
function handChannel(): { submits: Submits; posts: Post[] } {
  const posts: Post[] = [];
  const send = (request: HttpRequest): Promise<HttpReply> =>
    new Promise((resolve, reject) => {
      const body = JSON.parse(request.body ?? "") as { tasks: TaskSpec[] } | TaskSpec;
      const specs = "tasks" in body ? body.tasks : [body];
      const values = specs.map(({ input }) => (input as { value: string }).value);
      const tasks = values.map((id) => ({ id, state: "queued" }));
      const reply = (status: number, value: unknown): void => resolve({ status, retryAfter: undefined, text: JSON.stringify(value) });
      posts.push({
        values,
        key: request.headers["idempotency-key"],
        answer: () => reply(202, "tasks" in body ? { tasks } : tasks[0]),
        refuse: (code) => reply(400, toProblem(new ClusterError(code, "no"))),
        breakOff: () => reject(new ConnectionBroken("cut", true, undefined)),
      });
    });
  const channel = { send, soon: (run: () => void) => void setImmediate(run) } as Channel;
  return { submits: new Submits({ channel, token: "occ", closed: new AbortController().signal, heard: true }), posts };
}

const count = (posts: readonly Post[], n: number): Promise<void> => expect.poll(() => posts.length, { interval: 1 }).toBe(n);

test("all submits of one turn go out as one POST, each with its own answer", async () => {
  const { submits, posts } = handChannel();
  const all = Promise.all(["a", "b", "c"].map((value) => submits.one(spec(value))));
  await count(posts, 1);
  expect(posts[0]?.values).toEqual(["a", "b", "c"]);
  posts[0]?.answer();
  expect((await all).map(({ id }) => id)).toEqual(["a", "b", "c"]);
});

test("at most four POSTs are under way; what comes meanwhile goes together", async () => {
  const { submits, posts } = handChannel();
  const all: Promise<unknown>[] = [];
  for (let n = 1; n <= SUBMITS.postsMax; n++) {
    all.push(submits.one(spec(`early${n}`)));
    await count(posts, n);
  }
  all.push(...["x", "y", "z"].map((value) => submits.one(spec(value))));
  await new Promise(setImmediate);
  expect(posts).toHaveLength(SUBMITS.postsMax);
  posts[2]?.answer();
  await count(posts, SUBMITS.postsMax + 1);
  expect(posts.at(-1)?.values).toEqual(["x", "y", "z"]);
  for (const post of posts) post.answer();
  await Promise.all(all);
});

test("a batch keeps the limits of one POST, by number and by size", async () => {
  const { submits, posts } = handChannel();
  const many = submits.many(Array.from({ length: LIMITS.submitTasksMax + 1 }, (_, n) => spec(`${n}`)));
  await count(posts, 2);
  expect(posts.map(({ values }) => values.length)).toEqual([LIMITS.submitTasksMax, 1]);
  for (const post of posts) post.answer();
  expect((await many).map(({ id }) => id)).toEqual(Array.from({ length: LIMITS.submitTasksMax + 1 }, (_, n) => `${n}`));

  const large = "x".repeat(SUBMITS.bodyCharsMax / 2);
  const two = [submits.one(spec(large)), submits.one(spec(large))];
  await count(posts, 4);
  for (const post of posts) post.answer();
  await Promise.all(two);
});

test.each(["bad_request", "payload_too_large", "idempotency_mismatch"] as const)(
  "one spec refused with %s does not fail its neighbours",
  async (code) => {
    const { submits, posts } = handChannel();
    const values = ["a", "b", "bad", "c", "d"];
    const all = Promise.allSettled(values.map((value) => submits.one(spec(value))));
    for (let n = 0; n < posts.length || n === 0; n++) {
      await expect.poll(() => posts.length, { interval: 1 }).toBeGreaterThan(n);
      if (posts[n]?.values.includes("bad")) posts[n]?.refuse(code);
      else posts[n]?.answer();
      await new Promise(setImmediate);
    }
    const settled = await all;
    expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected", "fulfilled", "fulfilled"]);
    expect(settled[2]).toMatchObject({ reason: { code } });
    expect(new Set(posts.map(({ key }) => key)).size).toBe(posts.length);
  },
);

test("an answer that blames the caller is everybody's", async () => {
  const { submits, posts } = handChannel();
  const all = Promise.allSettled([submits.one(spec("a")), submits.one(spec("b"))]);
  await count(posts, 1);
  posts[0]?.refuse("unauthorized");
  expect(await all).toMatchObject([{ reason: { code: "unauthorized" } }, { reason: { code: "unauthorized" } }]);
  expect(posts).toHaveLength(1);
});

test("after a broken connection the same body goes out again under the same key", async () => {
  const { submits, posts } = handChannel();
  const one = submits.one(spec("a"));
  await count(posts, 1);
  posts[0]?.breakOff();
  await count(posts, 2);
  expect([posts[1]?.key, posts[1]?.values]).toEqual([posts[0]?.key, ["a"]]);
  posts[1]?.answer();
  expect((await one).id).toBe("a");
});

test("a key of the caller's own goes alone and as it is", async () => {
  const { submits, posts } = handChannel();
  const keyed = submits.keyed(spec("a"), "mine");
  await count(posts, 1);
  expect(posts[0]?.key).toBe("mine");
  posts[0]?.answer();
  expect((await keyed).id).toBe("a");
});
