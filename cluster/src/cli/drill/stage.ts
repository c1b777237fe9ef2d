/**
 * What every form of the drill stands on: the session, a signal for Ctrl-C, a folder, and a list of what must be undone.
 *
 * E1. Whatever a drill has made is undone in the opposite order, also after a failure or Ctrl-C. What cannot be undone is
 *     told by name, and the rest is undone all the same.
 */
import { failureOf } from "../failure.ts";
import { INTERRUPTED } from "../follow.ts";
import type { Session } from "../session.ts";
import { openGround, type Ground } from "./ground.ts";
import { openProgress, type Progress } from "./progress.ts";
import type { Measured } from "./verdict.ts";

export interface Stage {
  readonly session: Session;
  /** Aborts when the person goes. What undoes must not listen to it. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
  readonly ground: Ground;
  /** `what`, for a person who would have to do it by hand. */
  undoLater(what: string, undo: () => Promise<void>): void;
}

/** How a drill ended: what --json prints, and what a person reads. */
export interface Outcome {
  readonly form: "workers" | "node" | "coordinator";
  /** Nothing for a pass. */
  readonly problems: readonly string[];
  /** What was done to whom, as the verdict's first line. */
  readonly headline: string;
  readonly facts: readonly (readonly [name: string, value: string | undefined])[];
  readonly measured: Measured | Readonly<Record<string, unknown>>;
}

/** undefined: the person went away, and all is undone. */
export async function onStage(session: Session, act: (stage: Stage) => Promise<Outcome>): Promise<{ outcome?: Outcome; left: string[] }> {
  const undoing: { what: string; undo: () => Promise<void> }[] = [];
  const leave = new AbortController();
  const progress = openProgress(session.terminal);
  let times = 0;
  const interrupt = session.terminal.onInterrupt(() => {
    times += 1;
    // Whatever is left then is found by the next drill.
    if (times > 1) session.terminal.exit(INTERRUPTED);
    progress.say("tidying up; once more ends this at once");
    leave.abort(new Error("interrupted"));
  });
  const left: string[] = [];
  try {
    const ground = await openGround();
    undoing.push({ what: `the folder ${ground.folder}`, undo: () => ground.remove() });
    const undoLater: Stage["undoLater"] = (what, undo) => void undoing.push({ what, undo });
    return { outcome: await act({ session, signal: leave.signal, progress, ground, undoLater }), left };
  } catch (error) {
    if (!leave.signal.aborted) throw error;
    return { left };
  } finally {
    if (undoing.length > 1) progress.step("tidying up");
    for (let last = undoing.pop(); last !== undefined; last = undoing.pop()) {
      await last.undo().catch((error: unknown) => left.push(`${last?.what}: ${failureOf(error).detail}`));
    }
    progress.end();
    for (const one of left) progress.say(`left behind, ${one}`);
    interrupt.stop();
  }
}
