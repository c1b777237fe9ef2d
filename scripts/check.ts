/** `npm run check`: the fast half, in under a minute, before every commit. Types, lint, format, dead code, unit tests. */
import { FORMAT, LINT, passes, TYPES, UNUSED } from "./checks.ts";
import { runTests } from "./test-run.ts";

let failed = 0;
for (const check of [TYPES, LINT, FORMAT, UNUSED]) if (!(await passes(check))) failed += 1;
const run = await runTests(["unit"], []);
failed += run.failed;
console.log(failed === 0 ? "All checks passed." : `${failed} failed.`);
process.exitCode = run.stopped ?? (failed === 0 ? 0 : 1);
