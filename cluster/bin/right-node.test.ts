import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";

/** Plain JavaScript without types, because it runs before anything is installed. */
interface RightNode {
  inRange(version: string): boolean;
  bundledNode(platform?: string): string | undefined;
}
const { inRange, bundledNode } = (await import(new URL("right-node.mjs", import.meta.url).href)) as RightNode;

describe("inRange", () => {
  it.each(["24.16.0", "24.99.1", "26.1.0", "v26.10.0", "27.0.0", "30.2.0"])("takes %s", (version) => {
    expect(inRange(version)).toBe(true);
  });

  it.each(["18.20.0", "v20.20.2", "22.30.0", "24.15.9", "25.9.0", "26.0.0"])("refuses %s", (version) => {
    expect(inRange(version)).toBe(false);
  });
});

describe("bundledNode", () => {
  // There is no package for Windows on ARM.
  it.runIf(`${process.platform}-${process.arch}` !== "win32-arm64")("finds the packaged Node of this platform", () => {
    expect(existsSync(bundledNode() ?? "nowhere")).toBe(true);
  });

  it.each(["linux-riscv64", "sunos-x64"])("knows none for %s", (platform) => {
    expect(bundledNode(platform)).toBeUndefined();
  });
});
