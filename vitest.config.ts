import { defineConfig } from "vitest/config";
import { CountReporter } from "./tests/support/count-reporter.ts";

// Groups run one after the other, cheapest first, so that a slip shows early and servers do not compete with unit tests.
// They count from 1, because vitest puts a group of 0 that runs in threads last.
export default defineConfig({
  test: {
    reporters: ["default", new CountReporter()],
    projects: [
      {
        test: {
          name: "unit",
          include: ["contract/**/*.test.ts", "cluster/**/*.test.ts", "tests/*.test.ts"],
          pool: "threads",
          // For what hangs; a busy machine may take ten times as long as a quiet one.
          testTimeout: 30_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: "simulation",
          include: ["tests/simulation/**/*.test.ts"],
          testTimeout: 120_000,
          maxConcurrency: 2,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          name: "integration",
          include: ["tests/integration/**/*.test.ts"],
          // Real servers on a small machine: one file at a time, so that none waits for another's start.
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 3 },
        },
      },
      {
        test: {
          name: "hosts",
          include: ["tests/hosts/**/*.test.ts"],
          // Machines that are really apart (network namespaces), one set of them at a time.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 4 },
        },
      },
      {
        test: {
          name: "faults",
          include: ["tests/faults/**/*.test.ts"],
          // Each test owns the machine while it runs: what is killed, cut or filled up must not be another test's.
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 200_000,
          sequence: { groupOrder: 5 },
        },
      },
    ],
  },
});
