/**
 * `npm start`: the demonstration. A coordinator and two workers, each with its own real OpenClaw Gateway; tasks go to the
 * best of them. Then it stays up for you to try. `-- --workers N`, `-- --once` ends after the summary, `-- --json` prints
 * the summary as one document, `-- --no-openclaw` leaves the Gateways out and is up within seconds. `-- --ha` shows another
 * one: three control nodes, of which one dies.
 */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { demonstrateHa } from "./demo-ha.ts";
import { ACTS } from "./demo/acts.ts";
import { linesOf, playActs, secondsSince, verdict, type Shown } from "./demo/play.ts";
import { openScreen } from "./demo/screen.ts";
import { NAMES, setStage, type Stage } from "./demo/stage.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = path.join(root, ".demo");

function readOptions(): { workers: number; once: boolean; json: boolean; openclaw: boolean; ha: boolean } {
  try {
    const { values } = parseArgs({
      options: {
        workers: { type: "string", default: "2" },
        once: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        openclaw: { type: "boolean", default: true },
        ha: { type: "boolean", default: false },
      },
      allowNegative: true,
    });
    const workers = Number(values.workers);
    if (!Number.isInteger(workers) || workers < 2 || workers > NAMES.length) throw new Error(`--workers takes 2 to ${NAMES.length}`);
    return { workers, once: values.once, json: values.json, openclaw: values.openclaw, ha: values.ha };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\nUsage: npm start -- [--workers N] [--once] [--json] [--no-openclaw | --ha]\n`);
    process.exit(2);
  }
}

const { workers, once, json, openclaw, ha } = readOptions();
if (ha) process.exit(await demonstrateHa({ folder, once, json }));
const from = Date.now();
const screen = openScreen();

function summarise(stage: Stage, shown: readonly Shown[]): boolean {
  const ok = shown.every((one) => one.ok);
  const turns = Object.groupBy(stage.model.requests, ({ gateway }) => gateway);
  const modelRequests = Object.fromEntries(Object.entries(turns).map(([gateway, requests]) => [gateway, requests?.length ?? 0]));
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ ok, seconds: secondsSince(from), apiUrl: stage.apiUrl, nodes: stage.nodes, acts: shown, modelRequests }, null, 2)}\n`,
    );
    return ok;
  }
  const heard = Object.entries(modelRequests).map(([gateway, count]) => `${gateway} ${count}`);
  process.stdout.write(`\n${linesOf(shown)}\n\n`);
  if (openclaw) process.stdout.write(`The model server's own log (.demo/model.jsonl) counts requests by Gateway: ${heard.join(", ")}.\n`);
  process.stdout.write(`${verdict(ok, secondsSince(from))}\n`);
  return ok;
}

const interrupted = Promise.withResolvers<void>();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.resolve());

let stage: Stage | undefined;
try {
  // Ctrl-C while the stage is being set ends what has been started so far.
  const setting = setStage({ folder, workers, openclaw, say: (text) => screen.say(text) });
  stage = await Promise.race([setting, interrupted.promise.then(() => undefined)]);
  if (stage === undefined) {
    screen.say("Stopping …");
    stage = await setting;
    process.exitCode = 130;
  } else {
    screen.follow(stage.client);
    const acts = ACTS.filter((one) => openclaw || !one.openclaw);
    const shown = await Promise.race([playActs(acts, stage, screen), interrupted.promise.then(() => undefined)]);
    screen.stop();
    const ok = shown !== undefined && summarise(stage, shown);
    process.exitCode = shown === undefined ? 130 : ok ? 0 : 1;
    if (!once && shown !== undefined) {
      const home = path.relative(process.cwd(), stage.home);
      const command = "npx openclaw-cluster";
      process.stderr.write(
        `\nIt stays up until Ctrl-C. The API: ${stage.apiUrl}/api/v1 (description: ${stage.apiUrl}/openapi.json)\nTry, in another terminal:\n` +
          `  ${command} status --home ${home}\n  ${command} ${openclaw ? 'run "Say hello" --follow' : "nodes"} --home ${home}\n  ${command} exec --home ${home} -- uname -a\n`,
      );
      await interrupted.promise;
      process.stderr.write("Stopping …\n");
    }
  }
} catch (error) {
  process.stderr.write(`\nThe demonstration could not start: ${(error as Error).message}\n`);
  process.exitCode = 1;
} finally {
  screen.stop();
  await stage?.end();
}
