/** A picture that is drawn again and again on a screen, until Ctrl-C. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { setTimeout as pause } from "node:timers/promises";
import { INTERRUPTED } from "./follow.ts";
import type { Session } from "./session.ts";

const EVERY_MS = 1_000;
const HOME_AND_CLEAR = "\u001b[H\u001b[J";

export async function refresh(session: Session, draw: () => Promise<string>): Promise<number> {
  const { terminal } = session;
  if (terminal.columns === undefined || session.json)
    throw new ClusterError("usage", "--watch draws on a screen; for a program, `events --json` tells every change");
  const leave = new AbortController();
  const interrupt = terminal.onInterrupt(() => leave.abort());
  try {
    while (!leave.signal.aborted) {
      terminal.out(HOME_AND_CLEAR + (await draw()));
      await pause(EVERY_MS, undefined, { signal: leave.signal });
    }
  } catch (error) {
    if (!leave.signal.aborted) throw error;
  } finally {
    interrupt.stop();
  }
  return INTERRUPTED;
}
