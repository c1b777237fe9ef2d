/**
 * The demonstration of high availability, for `npm start -- --ha`: three daemons on this machine, as three machines would be. It stays
 * up for you to try; `--once` ends after the summary, `--json` prints that as one document.
 */
import { rm } from "node:fs/promises";
import path from "node:path";
import { styleText } from "node:util";
import { openTrio, type Trio } from "./control-trio.ts";
import { HA_ACTS } from "./demo/ha.ts";

export interface HaOptions {
  readonly folder: string;
  readonly once: boolean;
  readonly json: boolean;
}

interface Shown {
  readonly title: string;
  readonly ok: boolean;
  readonly seen: string;
  readonly seconds: number;
}

/** The exit code. */
export async function demonstrateHa({ folder, once, json }: HaOptions): Promise<number> {
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  const interrupted = Promise.withResolvers<undefined>();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.resolve(undefined));
  const from = Date.now();
  const home = path.join(folder, "ha");
  await rm(home, { recursive: true, force: true });
  say("Starting three machines: one leads, two work for it …");
  const opening = openTrio({ folder: home });
  let trio: Trio | undefined;
  try {
    trio = await Promise.race([opening, interrupted.promise]);
    if (trio === undefined) return 130;
    const shown = await Promise.race([play(trio, say), interrupted.promise]);
    if (shown === undefined) return 130;
    const ok = shown.every((one) => one.ok);
    const took = secondsSince(from);
    if (json) process.stdout.write(`${JSON.stringify({ ok, seconds: took, acts: shown }, null, 2)}\n`);
    else process.stdout.write(summary(shown, ok, took));
    if (!once) await stayUp(trio, home, interrupted.promise);
    return ok ? 0 : 1;
  } finally {
    say("Stopping …");
    await (await opening.catch(() => undefined))?.end();
  }
}

async function play(trio: Trio, say: (text: string) => void): Promise<Shown[]> {
  const shown: Shown[] = [];
  for (const { title, play: playAct } of HA_ACTS) {
    const start = Date.now();
    say(`\n${styleText("bold", title, { stream: process.stderr })}`);
    const act = await playAct(trio).then(
      (seen) => ({ title, ok: true, seen, seconds: secondsSince(start) }),
      (error: unknown) => ({
        title,
        ok: false,
        seen: error instanceof Error ? error.message : String(error),
        seconds: secondsSince(start),
      }),
    );
    say(`  ${act.seen}`);
    shown.push(act);
    if (!act.ok) break;
  }
  return shown;
}

function summary(shown: readonly Shown[], ok: boolean, took: number): string {
  const lines = shown.map(
    (one) => `${one.ok ? styleText("green", "✓") : styleText("red", "✗")} ${one.title} (${one.seconds} s)\n  ${one.seen}`,
  );
  return `\n${lines.join("\n")}\n\n${ok ? "All of it worked" : "Something did not work"}, in ${took} s.\n`;
}

async function stayUp(trio: Trio, home: string, interrupted: Promise<undefined>): Promise<void> {
  const at = path.join(path.relative(process.cwd(), home), trio.names[0] as string);
  process.stderr.write(
    `\nIt stays up until Ctrl-C. Try, in another terminal:\n  npx openclaw-cluster cluster --watch --home ${at}\n` +
      trio.names.map((name) => `  kill -9 ${trio.node(name).pid}   # ${name}\n`).join(""),
  );
  await interrupted;
}

const secondsSince = (start: number): number => Math.round((Date.now() - start) / 100) / 10;
