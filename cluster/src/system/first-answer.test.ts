import { ClusterError } from "@openclaw-cluster/contract/errors";
import { expect, test } from "vitest";
import { firstAnswer } from "./first-answer.ts";

const OPTIONS = { staggerMs: 3_600_000, isLast: (error: unknown) => error instanceof ClusterError && !error.row.retryable };
const dead = (url: string): ClusterError => new ClusterError("coordinator_unreachable", `nobody at ${url}`);

/** Resolves never, and tells when it was given up. */
function hang(signal: AbortSignal, givenUp: () => void): Promise<never> {
  return new Promise((_resolve, reject) =>
    signal.addEventListener("abort", () => {
      givenUp();
      reject(signal.reason as Error);
    }),
  );
}

test("the next is asked as soon as one fails, and none after the first answer", async () => {
  const asked: string[] = [];
  const found = await firstAnswer(["a", "b", "c"], OPTIONS, async (url) => {
    asked.push(url);
    if (url === "a") throw dead(url);
    return url;
  });
  expect(found).toBe("b");
  expect(asked).toEqual(["a", "b"]);
});

test("one that says nothing has the word alone for a while, and is given up when another answers", async () => {
  let givenUp = 0;
  const ask = async (url: string, signal: AbortSignal): Promise<string> => (url === "a" ? hang(signal, () => (givenUp += 1)) : url);
  expect(await firstAnswer(["a", "b"], { ...OPTIONS, staggerMs: 5 }, ask)).toBe("b");
  expect(givenUp).toBe(1);
});

test("a fault that another would tell in the same way ends it", async () => {
  const error = new ClusterError("node_removed", "no");
  const asked: string[] = [];
  const asking = firstAnswer(["a", "b"], OPTIONS, (url) => {
    asked.push(url);
    return Promise.reject(error);
  });
  await expect(asking).rejects.toBe(error);
  expect(asked).toEqual(["a"]);
});

test("where none answers, one alone has its own fault, and of several each is named", async () => {
  const fault = dead("a");
  await expect(firstAnswer(["a"], OPTIONS, () => Promise.reject(fault))).rejects.toBe(fault);
  const isLast = (): boolean => false;
  const several = firstAnswer(["x", "y", "z"], { ...OPTIONS, isLast }, async (url) => {
    if (url === "x") throw new ClusterError("certificate_refused", "another authority");
    if (url === "y") throw new ClusterError("unavailable", "no leader.", { retryAfterMs: 3_000 });
    throw dead(url);
  });
  await expect(several).rejects.toMatchObject({
    code: "unavailable",
    detail: "x: another authority; y: no leader; nobody at z",
    retryAfterMs: 3_000,
  });
});

test("the caller's end is the end of all", async () => {
  const leaving = new AbortController();
  let givenUp = 0;
  const asking = firstAnswer(["a", "b"], { ...OPTIONS, staggerMs: 1, signal: leaving.signal, isLast: () => true }, (_url, signal) =>
    hang(signal, () => {
      givenUp += 1;
    }),
  );
  leaving.abort(new Error("enough"));
  await expect(asking).rejects.toThrow("enough");
  expect(givenUp).toBeGreaterThan(0);
});
