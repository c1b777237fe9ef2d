/**
 * Takes a place that fails out of the choice for a while: closed (asked as usual), open (not asked), half open (asked once,
 * and the answer decides). One for each place: another model behind the same server may well answer.
 *
 * K1. Only what says something about the server counts: a request that was wrong, or that its client gave up, is no failure.
 * K2. Failures count in a row: one answer, and it begins anew.
 * K3. While half open, one request at a time is let through; one that never ends is given up after PROBE_MS_MAX.
 * K4. What was sent before it opened changes an open breaker no more, unless it is an answer.
 */
import { placeKey, type Place, type PlaceKey } from "./place.ts";

/** Requests in a row, as Olla counts them: one bad connection is chance, five are not. */
export const FAILURES_MAX = 5;
/** Looks at the server by its own node, in a row: they are rarer, and cost no user anything. */
export const PROBE_FAILURES_MAX = 3;
/** As long as a model server takes to start again. */
export const OPEN_MS = 30_000;
/** K3: a cold load of a large model and a long prompt lie within; the request's own time limits end it earlier. */
export const PROBE_MS_MAX = 180_000;

/** How a request ended, for the breaker. `faulty`: an answer that nobody can read, or a 5xx. `wrong`: a 4xx. */
export type Ending = "answered" | "wrong" | "given_up" | "unreachable" | "silent" | "faulty";

type Circuit =
  | { readonly kind: "closed"; readonly failures: number; readonly probeFailures: number }
  | { readonly kind: "open"; readonly until: number }
  | { readonly kind: "half_open"; readonly probeUntil: number | undefined };

const CLOSED: Circuit = { kind: "closed", failures: 0, probeFailures: 0 };

export class Breakers {
  /** Closed ones without a failure are not kept, so this is bounded by the places that fail. */
  private readonly circuits = new Map<PlaceKey, Circuit>();

  /** May a request be sent there now? */
  isOpen(place: Place, now: number): boolean {
    return this.waitMs(place, now) > 0;
  }

  /** How long until it may be tried; 0: now. */
  waitMs(place: Place, now: number): number {
    const circuit = this.circuits.get(placeKey(place)) ?? CLOSED;
    switch (circuit.kind) {
      case "closed":
        return 0;
      case "open":
        return Math.max(0, circuit.until - now);
      case "half_open":
        return Math.max(0, (circuit.probeUntil ?? now) - now);
    }
  }

  /** A request is sent there. */
  begin(place: Place, now: number): void {
    const key = placeKey(place);
    const circuit = this.circuits.get(key);
    if (circuit === undefined || circuit.kind === "closed" || this.isOpen(place, now)) return;
    this.circuits.set(key, { kind: "half_open", probeUntil: now + PROBE_MS_MAX });
  }

  end(place: Place, ending: Ending, now: number): void {
    const key = placeKey(place);
    switch (ending) {
      case "answered":
      case "wrong":
        // A 4xx is an answer: the server is there, and knows what it does not want.
        this.circuits.delete(key);
        break;
      case "given_up":
        this.giveUp(key);
        break;
      case "unreachable":
      case "silent":
      case "faulty":
        this.fail(key, now);
        break;
    }
  }

  /** The node looked at its server. A look that went well does not close an open one: a list is no answer of a model. */
  probed(place: Place, well: boolean, now: number): void {
    const key = placeKey(place);
    const circuit = this.circuits.get(key) ?? CLOSED;
    if (circuit.kind !== "closed") return;
    const probeFailures = well ? 0 : circuit.probeFailures + 1;
    if (probeFailures >= PROBE_FAILURES_MAX) this.open(key, now);
    else if (probeFailures + circuit.failures === 0) this.circuits.delete(key);
    else this.circuits.set(key, { ...circuit, probeFailures });
  }

  /** The place is gone, or is another one under the same name. */
  forget(place: Place): void {
    this.circuits.delete(placeKey(place));
  }

  private fail(key: PlaceKey, now: number): void {
    const circuit = this.circuits.get(key) ?? CLOSED;
    switch (circuit.kind) {
      case "closed": {
        const failures = circuit.failures + 1;
        if (failures >= FAILURES_MAX) this.open(key, now);
        else this.circuits.set(key, { ...circuit, failures });
        break;
      }
      case "open":
        break; // K4
      case "half_open":
        this.open(key, now);
        break;
    }
  }

  /** It tells nothing, so the next one may try. */
  private giveUp(key: PlaceKey): void {
    if (this.circuits.get(key)?.kind === "half_open") this.circuits.set(key, { kind: "half_open", probeUntil: undefined });
  }

  private open(key: PlaceKey, now: number): void {
    this.circuits.set(key, { kind: "open", until: now + OPEN_MS });
  }
}
