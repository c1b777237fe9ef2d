/** How a demonstration is played, whichever: act by act, each of which throws where what it shows is not true. */
import { styleText } from "node:util";

export interface Act<Stage> {
  readonly title: string;
  /** What was seen, in one line. */
  play(stage: Stage): Promise<string>;
}

export interface Shown {
  readonly title: string;
  readonly ok: boolean;
  /** Or why it is not so. */
  readonly seen: string;
  readonly seconds: number;
}

/** `told` hears of each act when it is over; `isOver`: the rest is not played. */
export async function playActs<Stage>(
  acts: readonly Act<Stage>[],
  stage: Stage,
  { say, told, isOver = () => false }: { say(text: string): void; told?(act: Shown): void; isOver?(act: Shown): boolean },
): Promise<Shown[]> {
  const shown: Shown[] = [];
  for (const { title, play } of acts) {
    const start = Date.now();
    say(`\n${styleText("bold", title, { stream: process.stderr })}`);
    const { ok, seen } = await play(stage).then(
      (line) => ({ ok: true, seen: line }),
      (error: unknown) => ({ ok: false, seen: error instanceof Error ? error.message : String(error) }),
    );
    const act = { title, ok, seen, seconds: secondsSince(start) };
    shown.push(act);
    told?.(act);
    if (isOver(act)) break;
  }
  return shown;
}

export function linesOf(shown: readonly Shown[]): string {
  return shown
    .map(({ ok, title, seconds, seen }) => `${ok ? styleText("green", "✓") : styleText("red", "✗")} ${title} (${seconds} s)\n  ${seen}`)
    .join("\n");
}

export const verdict = (ok: boolean, seconds: number): string => `${ok ? "All of it worked" : "Something did not work"}, in ${seconds} s.`;

export const secondsSince = (start: number): number => Math.round((Date.now() - start) / 100) / 10;

/** Throws `otherwise` where nothing is found for `msMax`. */
export async function until<T>(
  look: () => T | undefined | Promise<T | undefined>,
  otherwise: string,
  { msMax, lookMs = 20 }: { readonly msMax: number; readonly lookMs?: number },
): Promise<T> {
  const giveUpAt = performance.now() + msMax;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > giveUpAt) throw new Error(otherwise);
    await new Promise((wake) => setTimeout(wake, lookMs));
  }
}

export function must(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}
