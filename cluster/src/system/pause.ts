/**
 * Waiting by a clock, and for a signal.
 *
 * W1. A pause leaves no listener on its signal: who stands by for months pauses a million times, all under one.
 */
import type { Clock } from "./clock.ts";

/** Resolves after `ms`, or when `signal` aborts; whoever minds looks at the signal. Keeps no process alive. */
export function pause(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      timer.cancel();
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = clock.after(ms, end);
    signal?.addEventListener("abort", end, { once: true });
  });
}

/** Resolves when `signal` aborts, at once where it has. For a signal that ends with what waits for it. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener("abort", () => resolve(), { once: true })));
}
