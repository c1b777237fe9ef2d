import { ClusterError } from "@openclaw-cluster/contract/errors";
import { expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { StoreFenced } from "../store/store.ts";
import { Turn } from "./turn.ts";

test("a turn that was about to begin does not outlive its coordinator: by then the store is closed", async () => {
  const clock = new HandClock();
  let commits = 0;
  const nothing = (): void => undefined;
  const commit = async (): Promise<() => void> => {
    commits += 1;
    return nothing;
  };
  const turn = new Turn({ clock, begin: nothing, place: () => false, commit, rollBack: async () => undefined, broken: nothing });
  turn.wake();
  const late = turn.run(() => undefined);
  await turn.end();
  await expect(late).rejects.toMatchObject({ code: "unavailable" });
  turn.hurry();
  await new Promise((resolve) => void setImmediate(resolve));
  expect(commits).toBe(0);
});

test("what fails after the commit takes nothing back: it ends the process, and nobody is told that his change failed (P1)", async () => {
  const clock = new HandClock();
  const told: string[] = [];
  const failing = async (): Promise<() => void> => () => {
    throw new ClusterError("payload_too_large", "more than a message holds");
  };
  const parts = { clock, begin: () => undefined, place: () => false, commit: failing, rollBack: async () => void told.push("rolled back") };
  const turn = new Turn({ ...parts, broken: () => void told.push("broken") });
  turn.add({ apply: () => undefined, committed: () => void told.push("committed"), failed: () => void told.push("failed") });
  turn.hurry();
  await new Promise((resolve) => void setImmediate(resolve));
  expect(told).toEqual(["broken"]);
});

test("who waited for a commit that another coordinator's claim has refused is not shown what was never committed (P1)", async () => {
  const clock = new HandClock();
  const nothing = (): void => undefined;
  const fenced = Promise.withResolvers<() => void>();
  const parts = { clock, begin: nothing, place: () => false, rollBack: async () => undefined, broken: nothing };
  const turn = new Turn({ ...parts, commit: () => fenced.promise });
  const step = turn.run(nothing);
  turn.hurry();
  const reader = turn.settled();
  fenced.reject(new StoreFenced("another one leads"));
  await expect(step).rejects.toMatchObject({ code: "unavailable" });
  await expect(reader).rejects.toMatchObject({ code: "unavailable" });
  await expect(turn.settled()).rejects.toMatchObject({ code: "unavailable" });
});
