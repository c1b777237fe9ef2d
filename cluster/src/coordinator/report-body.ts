/**
 * A report as it came from the bus, checked. zod takes a microsecond for each end of an attempt and makes three copies;
 * the ends that make up nearly all of a busy cluster's reports, plain successes, are therefore looked at by hand.
 */
import { Finished, Report, isAttemptRef } from "@openclaw-cluster/contract/wire";
import { z } from "zod";
import { sprawls } from "../system/sprawl.ts";

const Envelope = Report.extend({ finished: z.array(z.unknown()) });
/** Looked at one by one; and in each of them, what may be anything. */
const [FINISHED, ANYTHING] = [["finished"], ["result"]] as const;

/** undefined: it is none, or one of its parts is not what it should be. */
export function readReport(body: unknown): Report | undefined {
  if (sprawls(body, FINISHED)) return undefined;
  const envelope = Envelope.safeParse(body);
  if (!envelope.success) return undefined;
  const finished: Finished[] = [];
  for (const one of envelope.data.finished) {
    if (isPlainSuccess(one)) {
      finished.push(one);
      continue;
    }
    if (sprawls(one, ANYTHING)) return undefined;
    const parsed = Finished.safeParse(one);
    if (!parsed.success) return undefined;
    finished.push(parsed.data);
  }
  return { ...envelope.data, finished };
}

/** Succeeded with a text, a number, true, false, null or nothing, and has not acted. */
function isPlainSuccess(value: unknown): value is Finished {
  if (!isAttemptRef(value)) return false;
  const { startedAt, endedAt, runMs, acted, outcome } = value as Partial<Record<keyof Finished, unknown>>;
  if (acted !== undefined || typeof outcome !== "object" || outcome === null) return false;
  const { kind, result, blob } = outcome as Record<string, unknown>;
  return (
    kind === "succeeded" &&
    blob === undefined &&
    (typeof result !== "object" || result === null) &&
    (startedAt === undefined || Number.isSafeInteger(startedAt)) &&
    Number.isSafeInteger(endedAt) &&
    Number.isFinite(runMs) &&
    (runMs as number) >= 0
  );
}
