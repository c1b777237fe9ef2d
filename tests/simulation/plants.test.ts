/** Every promise has a bug planted against it, and the checker finds each: a process of its own for each, because a plant is for life. */
import { fileURLToPath } from "node:url";
import { test } from "vitest";
import { run } from "../../scripts/child.ts";
import { PLANTS } from "./world/plants.ts";

const SIM = fileURLToPath(new URL("../../scripts/sim.ts", import.meta.url));
/** The shyest plant shows itself in one of some hundred worlds. */
const SEEDS = 3_000;

test.concurrent.for(PLANTS)("$name", { timeout: 300_000 }, async ({ name, breaks }, { expect }) => {
  const { code, stdout, stderr } = await run(process.execPath, [SIM, "--plant", name, "--seeds", String(SEEDS)]).ended();
  expect(stderr).not.toContain("Error");
  expect(code, stdout).toBe(1);
  expect(breaks).toContain(/✗ (\w+)/.exec(stdout)?.[1]);
});
