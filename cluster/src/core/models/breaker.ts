/**
 * Takes a place that fails out of the choice for a while: closed (asked as usual), open (not asked), half open (asked once,
 * and the answer decides). One for each place: another model behind the same server may well answer.
 *
 * K1. Only what says something about the server counts: a request that was wrong, or that its client gave up, is no failure.
 * K2. Failures count in a row: one answer, and it begins anew.
 * K3. While half open, one request at a time is let through; one that never ends is given up after PROBE_MS_MAX.
 * K4. What was sent before it opened changes an open breaker no more, unless it is an answer, or widens it (K5).
 * K5. What may be the fault of the request (`faulty`: some servers answer 500 to a schema that they cannot read) opens the breaker for
 *     whoever asked and for nobody else, as long as it was the same one each time. Whoever else then meets a failure there opens it for all.
 */
import { placeKey, type Place, type PlaceKey } from "./place.ts";

/** Requests in a row, as Olla counts them: one bad connection is chance, five are not. */
export const FAILURES_MAX = 5;
/** As long as a model server takes to start again. */
export const OPEN_MS = 30_000;
/** K3: a cold load of a large model and a long prompt lie within; the request's own time limits end it earlier. */
export const PROBE_MS_MAX = 180_000;

/** How a request ended, for the breaker. `faulty`: an answer that nobody can read, or a 5xx. `wrong`: a 4xx. */
export type Ending = "answered" | "wrong" | "given_up" | "unreachable" | "silent" | "faulty";

/** K5: for whom it is open. undefined: for all. */
type Scope = string | undefined;

type Circuit =
  | {
      readonly kind: "closed";
      readonly failures: number;
      /** Of the failures so far. */
      readonly scope: Scope;
    }
  | { readonly kind: "open"; readonly until: number; readonly scope: Scope }
  | { readonly kind: "half_open"; readonly probeUntil: number | undefined; readonly scope: Scope };

const CLOSED: Circuit = { kind: "closed", failures: 0, scope: undefined };

export class Breakers {
  /** Closed ones without a failure are not kept, so this is bounded by the places that fail. */
  private readonly circuits = new Map<PlaceKey, Circuit>();

  /** May a request be sent there now? */
  isOpen(place: Place, now: number, asker?: string): boolean {
    return this.waitMs(place, now, asker) > 0;
  }

  /** How long until this asker may try it; 0: now. */
  waitMs(place: Place, now: number, asker?: string): number {
    const circuit = this.circuits.get(placeKey(place)) ?? CLOSED;
    if (!concerns(circuit, asker)) return 0;
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
  begin(place: Place, now: number, asker?: string): void {
    const key = placeKey(place);
    const circuit = this.circuits.get(key);
    if (circuit === undefined || circuit.kind === "closed" || !concerns(circuit, asker) || this.isOpen(place, now, asker)) return;
    this.circuits.set(key, { kind: "half_open", probeUntil: now + PROBE_MS_MAX, scope: circuit.scope });
  }

  end(place: Place, ending: Ending, now: number, asker?: string): void {
    const key = placeKey(place);
    switch (ending) {
      case "answered":
      case "wrong":
        // A 4xx is an answer: the server is there, and knows what it does not want.
        this.circuits.delete(key);
        break;
      case "given_up":
        this.giveUp(key, asker);
        break;
      case "unreachable":
      case "silent":
        this.fail(key, undefined, now);
        break;
      case "faulty":
        this.fail(key, asker, now);
        break;
    }
  }

  /** Without an asker it is the server's alone. */
  private fail(key: PlaceKey, asker: string | undefined, now: number): void {
    const circuit = this.circuits.get(key) ?? CLOSED;
    const isOthers = circuit.scope !== undefined && circuit.scope !== asker;
    switch (circuit.kind) {
      case "closed": {
        const failures = circuit.failures + 1;
        const scope = circuit.failures === 0 ? asker : isOthers ? undefined : circuit.scope;
        if (failures >= FAILURES_MAX) this.open(key, scope, now);
        else this.circuits.set(key, { ...circuit, failures, scope });
        break;
      }
      case "open":
        // K4, K5
        if (isOthers) this.circuits.set(key, { ...circuit, scope: undefined });
        break;
      case "half_open":
        this.open(key, isOthers ? undefined : circuit.scope, now);
        break;
    }
  }

  /** It tells nothing, so the next one may try. */
  private giveUp(key: PlaceKey, asker: string | undefined): void {
    const circuit = this.circuits.get(key);
    if (circuit?.kind === "half_open" && concerns(circuit, asker)) this.circuits.set(key, { ...circuit, probeUntil: undefined });
  }

  private open(key: PlaceKey, scope: Scope, now: number): void {
    this.circuits.set(key, { kind: "open", until: now + OPEN_MS, scope });
  }
}

/** K5. Who is not named may be anybody. */
const concerns = ({ scope }: Circuit, asker: string | undefined): boolean => scope === undefined || asker === undefined || scope === asker;
