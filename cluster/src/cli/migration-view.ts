/** Watches a migration of the store until it is over: asked again and again, because whoever answers changes in between. */
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "@openclaw-cluster/contract/client/client";
import { ClusterError, type ErrorCode } from "@openclaw-cluster/contract/errors";
import type { Migration } from "@openclaw-cluster/contract/store-migration";
import type { Session } from "./session.ts";

const EVERY_MS = 300;
/** Nobody leads while the store changes, and a daemon that was killed needs its start. */
const SILENCE_MS_MAX = 120_000;
const PASSING: readonly ErrorCode[] = ["unavailable", "coordinator_unreachable", "overloaded"];

/** undefined: the person went away first. */
export async function followMigration(session: Session, client: Client, to: Migration["to"]): Promise<Migration | undefined> {
  const leave = new AbortController();
  const interrupt = session.terminal.onInterrupt(() => leave.abort());
  const tell = progressOn(session);
  let heardAt = performance.now();
  let last: Migration | undefined;
  try {
    for (;;) {
      try {
        const { migration } = await client.storeMigration({}, { signal: leave.signal });
        heardAt = performance.now();
        if (migration === undefined) return await afterRestart(client, to, last);
        last = migration;
        tell(migration);
        if (migration.endedAt !== undefined) return migration;
      } catch (error) {
        if (!(error instanceof ClusterError) || !PASSING.includes(error.code) || performance.now() - heardAt > SILENCE_MS_MAX) throw error;
      }
      await pause(EVERY_MS, undefined, { signal: leave.signal });
    }
  } catch (error) {
    if (leave.signal.aborted) return undefined;
    throw error;
  } finally {
    interrupt.stop();
  }
}

/** The daemon began anew and knows of no migration: its store tells what became of it. */
async function afterRestart(client: Client, to: Migration["to"], last: Migration | undefined): Promise<Migration> {
  const { store, startedAt } = await client.cluster();
  if (store.kind !== to || last === undefined)
    throw new ClusterError("unavailable", "The coordinator began anew, and its store was not moved; run it again.");
  return { ...last, phase: "done", endedAt: startedAt };
}

/** On a screen, one line that is written over. */
function progressOn({ terminal, json }: Session): (migration: Migration) => void {
  let shown = "";
  return (migration) => {
    if (terminal.errColumns === undefined || json) return;
    const text = migration.endedAt === undefined ? phaseText(migration) : "";
    if (text === shown) return;
    terminal.err(`\r${text.padEnd(shown.length)}${text === "" ? "\r" : ""}`);
    shown = text;
  };
}

function phaseText({ phase, copied, of, behind }: Migration): string {
  switch (phase) {
    case "copying":
      return `copying, ${copied} of ${of} tasks, ${behind} rows came since`;
    case "comparing":
      return `comparing ${of} tasks, ${behind} rows came since`;
    case "following":
      return `writing what came since, ${behind} rows`;
    case "switching":
      return "switching";
    case "done":
    case "failed":
      return "";
  }
}
