import type { ClusterId, NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { EchoInput } from "@openclaw-cluster/contract/task-spec";
import type { Outcome } from "@openclaw-cluster/contract/wire";
import { expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { silentLog } from "../system/log.ts";
import { echoExecutor } from "./echo.ts";

const clock = new HandClock();

function run(input: EchoInput, signal = new AbortController().signal): Promise<Outcome> {
  const spec = { kind: "echo" as const, input };
  return echoExecutor({ clock }).run(spec, {
    cluster: "abcd1234" as ClusterId,
    node: "n1" as NodeId,
    offer: { task: "t1" as TaskId, attempt: 1, epoch: 1, spec },
    signal,
    folder: "/nowhere",
    log: silentLog,
    output: () => Promise.reject(new Error("an echo prints nothing")),
    progress: () => undefined,
    acted: () => undefined,
  });
}

test("gives its input back, also nothing and null; fails when asked", async () => {
  expect(await run({ value: { a: [1] } })).toEqual({ kind: "succeeded", result: { a: [1] } });
  expect(await run({ value: null })).toEqual({ kind: "succeeded", result: null });
  expect(await run({})).toEqual({ kind: "succeeded", result: null });
  expect(await run({ fail: true, value: 1 })).toMatchObject({ kind: "failed", error: { code: "agent_failed" } });
});

test("takes its time by the clock, and no longer than until it is stopped", async () => {
  const slow = run({ value: 1, delayMs: 1_000 });
  clock.advance(999);
  let ended = false;
  void slow.then(() => (ended = true));
  await Promise.resolve();
  expect(ended).toBe(false);
  clock.advance(1);
  expect(await slow).toEqual({ kind: "succeeded", result: 1 });
  const controller = new AbortController();
  const stopped = run({ delayMs: 1_000 }, controller.signal);
  controller.abort("cancelled");
  expect(await stopped).toEqual({ kind: "cancelled" });
  expect(await run({ delayMs: 1_000 }, controller.signal)).toEqual({ kind: "cancelled" });
});
