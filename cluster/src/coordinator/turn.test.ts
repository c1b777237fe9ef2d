import { expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { Turn } from "./turn.ts";

test("a turn that was about to begin does not outlive its coordinator: by then the store is closed", async () => {
  const clock = new HandClock();
  let commits = 0;
  const nothing = (): void => undefined;
  const commit = async (): Promise<void> => void (commits += 1);
  const turn = new Turn({ clock, begin: nothing, place: () => false, commit, rollBack: async () => undefined, broken: nothing });
  turn.wake();
  const late = turn.run(() => undefined);
  await turn.end();
  await expect(late).rejects.toMatchObject({ code: "unavailable" });
  turn.hurry();
  await new Promise((resolve) => void setImmediate(resolve));
  expect(commits).toBe(0);
});
