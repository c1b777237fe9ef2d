import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createInvitation, readJoinCode, writeJoinCode, type JoinCode } from "./join-code.ts";

const PIN = "p".repeat(43);
const code = (more: Partial<JoinCode> = {}): JoinCode => ({ ...createInvitation(), pin: PIN, urls: ["http://100.64.0.1:8888"], ...more });

test("what was written is read again, pin and addresses included", () => {
  const made = code({ urls: ["https://192.168.1.5:8888", "https://studio.tail1234.ts.net:8888"] });
  expect(readJoinCode(`  ${writeJoinCode(made)}\n`)).toEqual(made);
});

test("it is one word in every shell", () => {
  expect(writeJoinCode(code())).toMatch(/^ocj1_[A-Za-z0-9_-]+$/);
});

test("each invitation has a name and 160 random bits of its own", () => {
  const all = Array.from({ length: 200 }, createInvitation);
  expect(new Set(all.map(({ invite }) => invite)).size).toBe(200);
  expect(new Set(all.map(({ secret }) => secret)).size).toBe(200);
  expect(Buffer.from(all[0]?.secret ?? "", "base64url")).toHaveLength(20);
});

describe("what is no code", () => {
  const whole = writeJoinCode(code());

  test("cut off or mistyped anywhere: it says so, and shows nothing of it", () => {
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.constantFrom("cut", "other", "twice"), (at, how) => {
        const other = whole[at] === "x" ? "y" : "x";
        const rest = { cut: "", other: other + whole.slice(at + 1), twice: (whole[at] ?? "") + whole.slice(at) }[how];
        const broken = whole.slice(0, at) + rest;
        if (broken === whole) return;
        expect(() => readJoinCode(broken)).toThrow(
          expect.objectContaining({ code: "usage", message: expect.not.stringContaining(whole.slice(20, 40)) }),
        );
      }),
    );
  });

  test.each(["", "http://127.0.0.1:8888", "ocj1_", "ocj1_abc", `${whole}x`])("%j", (text) => {
    expect(() => readJoinCode(text)).toThrow(expect.objectContaining({ code: "usage" }));
  });

  test("an address that is no web address", () => {
    expect(() => readJoinCode(writeJoinCode(code({ urls: ["file:///etc/passwd"] })))).toThrow(/version/);
  });
});
