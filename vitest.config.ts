import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["contract/**/*.test.ts", "cluster/**/*.test.ts", "tests/*.test.ts"], pool: "threads" } },
      { test: { name: "simulation", include: ["tests/simulation/**/*.test.ts"], testTimeout: 120_000 } },
      {
        test: {
          name: "integration",
          include: ["tests/integration/**/*.test.ts"],
          // Real servers on a small machine: one file at a time, so that none waits for another's start.
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
