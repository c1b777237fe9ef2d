import { expect, test } from "vitest";
import { TestTerminal } from "../../../../tests/support/terminal.ts";
import { openProgress } from "./progress.ts";

function play(terminal: TestTerminal): string {
  const progress = openProgress(terminal);
  progress.step("starting");
  progress.news("1 of 2");
  progress.news("1 of 2");
  progress.say("look here");
  progress.step("over");
  progress.end();
  return terminal.stderr;
}

test("a pipe gets one plain line for each step", () => {
  expect(play(new TestTerminal())).toBe("starting\nlook here\nover\n");
});

test("a screen has one line that is written over, and never wraps", () => {
  const clear = "\r\u001b[2K";
  expect(play(new TestTerminal({ columns: 7 }))).toBe(`${clear}starti${clear}1 of 2${clear}look here\n${clear}over${clear}`);
});
