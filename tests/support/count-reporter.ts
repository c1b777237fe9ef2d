/**
 * Counts what vitest ran, for the last line of `npm test`. A file that could not be loaded and an error that no test
 * caught count as failures too: nothing that turns the run red is left out of the number.
 */
import { writeFileSync } from "node:fs";
import type { Reporter, TestModule } from "vitest/node";

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Names the file to write; without it the reporter is silent, as in a run by hand. */
export const COUNTS_FILE = "OPENCLAW_CLUSTER_TEST_COUNTS";

export class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const file = process.env[COUNTS_FILE];
    if (file === undefined) return;
    let passed = 0;
    let skipped = 0;
    let failed = unhandledErrors.length;
    for (const module of modules) {
      const states = [...module.children.allTests()].map((test) => test.result().state);
      passed += states.filter((state) => state === "passed").length;
      skipped += states.filter((state) => state === "skipped").length;
      // Pending: the run was cut short before this test ended.
      failed += states.filter((state) => state === "failed" || state === "pending").length;
      const suites = [...module.children.allSuites()];
      failed += module.errors().length + suites.reduce((sum, suite) => sum + suite.errors().length, 0);
    }
    writeFileSync(file, JSON.stringify({ passed, failed, skipped } satisfies Counts));
  }
}
