/** Why a place did not answer, and what is told to whoever asked when none did. */
import type { Ending } from "../../core/models/breaker.ts";
import { REFUSED_AS, type ModelRefusal } from "../../core/models/model-refusal.ts";
import { PolicyRefusal } from "../lines/lending.ts";
import { ModelFault, RouteRefusal } from "../models.ts";

/** R1 in router.ts: it cost an attempt. */
export const isFault = (failure: Error): boolean => !(failure instanceof PolicyRefusal || failure instanceof RouteRefusal);

/** What it says of the place's server. */
export function endingOf(error: unknown): Ending {
  // Its node says nothing of its server.
  if (error instanceof PolicyRefusal) return "given_up";
  if (error instanceof RouteRefusal) return "wrong";
  if (!(error instanceof ModelFault)) return "faulty";
  switch (error.kind) {
    case "unreachable":
      return "unreachable";
    case "silent":
      return "silent";
    case "garbage":
    case "too_large":
      return "faulty";
    case "unknown_model":
    case "crowded":
      return "given_up";
    case "unsupported":
      return "wrong";
  }
}

/** Of several reasons the one that is nearest to an answer: what will do later, before what is broken, before what never will. */
export function lost(attempts: number, failures: readonly Error[]): RouteRefusal {
  const told = failures.toReversed().toSorted((a, b) => rankOf(a) - rankOf(b))[0];
  if (told instanceof RouteRefusal) {
    const { status, code, message, retryAfterMs } = told;
    return new RouteRefusal(status, code, message, { attempts, ...(retryAfterMs !== undefined && { retryAfterMs }) });
  }
  if (told instanceof PolicyRefusal) return new RouteRefusal(403, "policy_denied", told.message, { attempts });
  if (told instanceof ModelFault && told.kind === "unsupported") return new RouteRefusal(400, "unsupported", told.message, { attempts });
  if (told instanceof ModelFault && told.kind === "unknown_model")
    return new RouteRefusal(404, "model_not_found", told.message, { attempts });
  return new RouteRefusal(502, "node_lost", `No node could answer; the last one said: ${told?.message ?? "nothing"}`, { attempts });
}

function rankOf(failure: Error): number {
  if (failure instanceof RouteRefusal) return 0;
  if (failure instanceof PolicyRefusal) return 2;
  if (!(failure instanceof ModelFault)) return 1;
  return failure.kind === "unsupported" ? 3 : failure.kind === "unknown_model" ? 4 : 1;
}

export function refusalOf(refusal: ModelRefusal): RouteRefusal {
  const { status, code } = REFUSED_AS[refusal.reason];
  const more = refusal.reason === "all_breakers_open" ? { retryAfterMs: refusal.retryAfterMs } : {};
  return new RouteRefusal(status, code, refusal.detail, more);
}
