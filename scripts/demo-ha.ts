/**
 * The demonstration of high availability, for `npm start -- --ha`: three daemons on this machine, as three machines would be. It stays
 * up for you to try; `--once` ends after the summary, `--json` prints that as one document.
 */
import { rm } from "node:fs/promises";
import path from "node:path";
import { openTrio, type Trio } from "./control-trio.ts";
import { HA_ACTS } from "./demo/ha.ts";
import { linesOf, playActs, secondsSince, verdict, type Shown } from "./demo/play.ts";

export interface HaOptions {
  readonly folder: string;
  readonly once: boolean;
  readonly json: boolean;
}

/** The exit code. */
export async function demonstrateHa({ folder, once, json }: HaOptions): Promise<number> {
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  // Each act builds on the one before.
  const telling = { say, told: ({ seen }: Shown) => say(`  ${seen}`), isOver: ({ ok }: Shown) => !ok };
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
    const shown = await Promise.race([playActs(HA_ACTS, trio, telling), interrupted.promise]);
    if (shown === undefined) return 130;
    const ok = shown.every((one) => one.ok);
    const took = secondsSince(from);
    if (json) process.stdout.write(`${JSON.stringify({ ok, seconds: took, acts: shown }, null, 2)}\n`);
    else process.stdout.write(`\n${linesOf(shown)}\n\n${verdict(ok, took)}\n`);
    if (!once) await stayUp(trio, home, interrupted.promise);
    return ok ? 0 : 1;
  } finally {
    say("Stopping …");
    await (await opening.catch(() => undefined))?.end();
  }
}

async function stayUp(trio: Trio, home: string, interrupted: Promise<undefined>): Promise<void> {
  const at = path.join(path.relative(process.cwd(), home), trio.names[0] as string);
  process.stderr.write(
    `\nIt stays up until Ctrl-C. Try, in another terminal:\n  npx openclaw-cluster cluster --watch --home ${at}\n` +
      trio.names.map((name) => `  kill -9 ${trio.node(name).pid}   # ${name}\n`).join(""),
  );
  await interrupted;
}
