/**
 * Time as an argument. The roles get a clock, so that a test or a simulation can move it by hand; core gets plain
 * numbers. `wall` is for people and for comparing with runAt and deadlines, `monotonic` for every duration.
 */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** ms since 1970; may jump. */
  wall(): number;
  /** ms since some start; never jumps, stands still while the machine sleeps on some systems. */
  monotonic(): number;
  /** Runs once after `ms`; does not keep the process alive. */
  after(ms: number, run: () => void): Timer;
  /** Runs after the I/O of this turn of the event loop. */
  soon(run: () => void): void;
}

/** IANA's name of the zone that this machine was in when the process began. */
export const localTimeZone = (): string => (local ??= new Intl.DateTimeFormat().resolvedOptions().timeZone);
let local: string | undefined;

export const systemClock: Clock = {
  wall: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
  soon(run) {
    setImmediate(run);
  },
};
