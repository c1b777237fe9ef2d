/** What is measured: anything that takes a no-op task with a payload and tells when its result is there. */
export interface Subject {
  /** Submit one, and see its result. */
  runOne(payload: string): Promise<void>;
  /** Submit all in one call, and see every result. */
  runArray(payloads: readonly string[]): Promise<void>;
  /** Submit only: resolves when it is accepted. Nobody carries these out. */
  submitOne(payload: string): Promise<void>;
  submitArray(payloads: readonly string[]): Promise<void>;
  /** Milliseconds from the submit to the start on the worker, and to the result here. */
  timeOne(payload: string): Promise<{ startMs: number; resultMs: number }>;
  close(): Promise<void>;
}

/** ms since 1970 with fractions, comparable between processes of one machine. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}
