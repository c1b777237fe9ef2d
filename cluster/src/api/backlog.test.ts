import { describe, expect, it } from "vitest";
import { Backlog, BACKLOG_BYTES_MAX, type Holder } from "./backlog.ts";

const MIB = 1024 * 1024;

/** Holders that note who was dropped, and hold less from then on. */
function holders(backlog: Backlog, keptBytes = MIB): { dropped: string[]; holder: (name: string) => Holder } {
  const dropped: string[] = [];
  const holder = (name: string): Holder => {
    const one: Holder = {
      drop: () => {
        dropped.push(name);
        backlog.hold(one, keptBytes);
      },
    };
    return one;
  };
  return { dropped, holder };
}

describe("a backlog that is full", () => {
  it("drops the slowest, and no more than it must", () => {
    const backlog = new Backlog();
    const { dropped, holder } = holders(backlog);
    const [a, b, c] = ["a", "b", "c"].map(holder) as [Holder, Holder, Holder];
    backlog.hold(a, 20 * MIB);
    backlog.hold(b, 20 * MIB);
    // More of the same does not make it a later one.
    backlog.hold(a, 24 * MIB);
    expect(dropped).toEqual([]);
    backlog.hold(c, 21 * MIB);
    expect(dropped).toEqual(["a"]);
    expect(backlog.full).toBe(false);
  });

  it("forgets who has caught up: it is the last when it falls behind again", () => {
    const backlog = new Backlog();
    const { dropped, holder } = holders(backlog);
    const [a, b] = ["a", "b"].map(holder) as [Holder, Holder];
    backlog.hold(a, 30 * MIB);
    backlog.hold(b, 30 * MIB);
    backlog.hold(a, 0);
    backlog.hold(a, 35 * MIB);
    expect(dropped).toEqual(["b"]);
  });

  it("stays full where nobody can be dropped, or was already, until they have caught up or gone", () => {
    const backlog = new Backlog();
    const fixed: Holder = {};
    const { dropped, holder } = holders(backlog, 2 * MIB);
    const a = holder("a");
    backlog.hold(fixed, BACKLOG_BYTES_MAX);
    backlog.hold(a, 3 * MIB);
    expect([dropped, backlog.full]).toEqual([["a"], true]);
    backlog.hold(holder("b"), 3 * MIB);
    expect(dropped).toEqual(["a", "b"]);
    backlog.hold(fixed, 0);
    expect(backlog.full).toBe(false);
  });
});
