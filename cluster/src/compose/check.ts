/** One finding of `doctor`: what was looked at, what was found and, where that is not well, what to do. */
export interface Check {
  readonly name: string;
  readonly level: "ok" | "warn" | "fail";
  readonly found: string;
  /** What to do, where it is not ok. */
  readonly advice?: string;
}

export const ok = (name: string, found: string): Check => ({ name, level: "ok", found });
/** It works, but not as well as it could, or not yet. */
export const warn = (name: string, found: string, advice: string): Check => ({ name, level: "warn", found, advice });
export const fail = (name: string, found: string, advice: string): Check => ({ name, level: "fail", found, advice });
