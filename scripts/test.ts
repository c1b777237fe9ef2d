/**
 * `npm test`: types, lint, then every test. `npm test -- --unit` (or --simulation, --integration, --hosts) runs one level;
 * `npm run test:hosts` is `--hosts`, which is skipped with its reason where there can be no network namespaces;
 * `npm run test:faults` is `--faults`, which `npm test` leaves out: it takes half an hour and wants root. Anything else after `--` is handed to vitest: a path, `-t name`. A run of a part leaves the checks out.
 *
 * The last line is always `N passed, N failed`, where each check counts as one; the exit code is 0 only with 0 failed.
 */
import { LINT, passes, TYPES } from "./checks.ts";
import { whyNoHosts } from "../tests/support/hosts.ts";
import { LEVELS, runTests, type Level } from "./test-run.ts";

const args = process.argv.slice(2);
const chosen = ([...LEVELS, "faults"] satisfies readonly Level[]).filter((level) => args.includes(`--${level}`));
const passedOn = args.filter((arg) => !chosen.some((level) => arg === `--${level}`));

const verdicts: boolean[] = [];
if (args.length === 0) for (const check of [TYPES, LINT]) verdicts.push(await passes(check));

const levels = chosen.length > 0 ? chosen : LEVELS;
const whyNot = levels.includes("hosts") ? whyNoHosts() : undefined;
if (whyNot !== undefined) console.log(`the tests of machines that are really apart are skipped: ${whyNot}`);
const run = await runTests(levels, passedOn);
const passed = run.passed + verdicts.filter((ok) => ok).length;
const failed = run.failed + verdicts.filter((ok) => !ok).length;
if (run.skipped > 0) console.log(`${run.skipped} skipped`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = run.stopped ?? (failed === 0 ? 0 : 1);
