/**
 * Does a model's answer hold to the schema that its task asked for?
 *
 * C1. A schema comes from whoever may submit, and nothing of it is made into code: an interpreter goes through it. (Ajv, the quickest,
 *     writes a program for each schema and runs it.)
 * C2. A check takes CHECK_MS at most: a `pattern` can go back and forth over a text for years. It is done in a thread, so that the worker's
 *     own goes on, and the thread is ended where it takes longer.
 * C3. One check at a time. The thread is started for the first one, is kept, and keeps no process alive.
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { Clock } from "../system/clock.ts";

/** A thousandth of it is usual for an answer of some pages. */
export const CHECK_MS = 1_000;
/** A schema and an answer take a few; what wants more is made to. */
const HEAP_MIB_MAX = 128;

export interface SchemaQuestion {
  readonly schema: object;
  readonly value: unknown;
}

/** unusable: nobody can check by that schema. late: C2. */
export type SchemaVerdict =
  | { readonly kind: "holds" }
  | { readonly kind: "breaks"; readonly where: string; readonly detail: string }
  | { readonly kind: "unusable"; readonly detail: string }
  | { readonly kind: "late" };

export interface SchemaCheck {
  check(question: SchemaQuestion): Promise<SchemaVerdict>;
  close(): Promise<void>;
}

export function openSchemaCheck(clock: Clock): SchemaCheck {
  let thread: Worker | undefined;
  let turn: Promise<unknown> = Promise.resolve();

  const start = async (): Promise<Worker> => {
    const fresh = new Worker(new URL("schema-thread.ts", import.meta.url), {
      ...{ env: {}, execArgv: [], resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB_MAX } },
    });
    fresh.unref();
    // It may also end while nobody asks it anything.
    fresh.on("error", () => undefined);
    fresh.once("exit", () => (thread = thread === fresh ? undefined : thread));
    await once(fresh, "message");
    return fresh;
  };
  const end = async (): Promise<void> => {
    const last = thread;
    thread = undefined;
    await last?.terminate();
  };
  const judge = async (question: SchemaQuestion): Promise<SchemaVerdict> => {
    const asked = (thread ??= await start());
    const verdict = Promise.withResolvers<SchemaVerdict>();
    const timer = clock.after(CHECK_MS, () => verdict.resolve({ kind: "late" }));
    const answered = (said: SchemaVerdict): void => verdict.resolve(said);
    const failed = (): void => verdict.resolve({ kind: "unusable", detail: "it takes too much memory" });
    asked.once("message", answered).once("exit", failed);
    asked.postMessage(question);
    const said = await verdict.promise;
    timer.cancel();
    asked.off("message", answered).off("exit", failed);
    if (said.kind === "late") await end();
    return said;
  };
  return {
    check(question) {
      const mine = turn.then(() => judge(question));
      turn = mine.catch(() => undefined);
      return mine;
    },
    close: end,
  };
}
