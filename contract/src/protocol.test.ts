import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isOlder, PROTOCOL, protocolText, spoken, type Protocol } from "./protocol.ts";

const protocols = fc
  .tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 0, max: 3 }))
  .map(([oldest, more]): Protocol => ({ oldest, newest: oldest + more }));

describe("the version that two builds speak with each other", () => {
  test("is one that both know, the newest such, and the same seen from either side", () => {
    fc.assert(
      fc.property(protocols, protocols, (a, b) => {
        const both = Array.from({ length: 20 }, (_, version) => version).filter((version) =>
          [a, b].every(({ oldest, newest }) => version >= oldest && version <= newest),
        );
        expect(spoken(a, b)).toBe(both.at(-1));
        expect(spoken(b, a)).toBe(spoken(a, b));
        // One of the two is to be updated.
        if (both.length === 0) expect(isOlder(a, b)).not.toBe(isOlder(b, a));
      }),
    );
  });

  test("who says nothing speaks the first", () => {
    expect(spoken({ oldest: 1, newest: 2 })).toBe(1);
    expect(spoken({ oldest: 2, newest: 3 })).toBeUndefined();
  });

  test("this build speaks the version before its newest as well, but where there is none", () => {
    expect(PROTOCOL.oldest).toBeLessThanOrEqual(Math.max(1, PROTOCOL.newest - 1));
  });

  test("for people", () => {
    expect(protocolText()).toBe("version 1 of the cluster's protocol");
    expect(protocolText({ oldest: 2, newest: 3 })).toBe("versions 2 to 3 of the cluster's protocol");
  });
});
