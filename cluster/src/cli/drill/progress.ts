/** What a drill is doing: on a screen one line on stderr that is written over, else a plain line for each step. */
import { plainLine, remark, type Terminal } from "../terminal.ts";

const CLEAR_LINE = "\r\u001b[2K";

export interface Progress {
  /** The next step. */
  step(text: string): void;
  /** News of the same step, such as a count or a time that runs down: for a screen only. */
  news(text: string): void;
  /** Words that stay. */
  say(text: string): void;
  /** Leaves the line empty for what is printed next. */
  end(): void;
}

export function openProgress(terminal: Terminal): Progress {
  const { errColumns } = terminal;
  if (errColumns === undefined) {
    const say = (text: string): void => remark(terminal, text);
    return { step: say, news: () => undefined, say, end: () => undefined };
  }
  // A line that wraps could not be written over.
  let shown = "";
  const show = (text: string): void => {
    const line = plainLine(text).slice(0, errColumns - 1);
    if (line !== shown) terminal.err(CLEAR_LINE + line);
    shown = line;
  };
  const end = (): void => {
    terminal.err(CLEAR_LINE);
    shown = "";
  };
  return {
    step: show,
    news: show,
    say: (text) => {
      end();
      remark(terminal, text);
    },
    end,
  };
}
