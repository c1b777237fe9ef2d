/** Messages in parts as they arrive: whole ones only, whatever a sender does. How they are sent is tried on a real server (bus.conformance.ts). */
import { headers, type Msg } from "@nats-io/transport-node";
import fc from "fast-check";
import { expect, test } from "vitest";
import { BODY_BYTES_MAX } from "./bus.ts";
import { heldFor, Joiner } from "./nats-delivery.ts";

let answered = 0;

function part(message: string, n: number, count: number, bytes: Uint8Array, subject = "ocx.up.a.report"): Msg {
  const header = headers();
  header.set("Ocx-Part", `${message} ${n} ${count}`);
  return { subject, data: bytes, headers: header, respond: () => ++answered > 0 } as unknown as Msg;
}

const word = (text: string): Uint8Array => Buffer.from(text);

test("a message without parts is what it is", () => {
  expect(new Joiner().join({ subject: "s", data: word("x") } as unknown as Msg)).toEqual(word("x"));
});

test("of two messages on two subjects each comes together, and all parts but the last are answered", () => {
  const joiner = new Joiner();
  answered = 0;
  expect(joiner.join(part("m", 0, 3, word("a")))).toBeUndefined();
  expect(joiner.join(part("o", 0, 2, word("x"), "ocx.up.b.report"))).toBeUndefined();
  expect(joiner.join(part("m", 1, 3, word("b")))).toBeUndefined();
  expect(answered).toBe(3);
  expect(joiner.join(part("o", 1, 2, word("y"), "ocx.up.b.report"))).toEqual(word("xy"));
  expect(joiner.join(part("m", 2, 3, word("c")))).toEqual(word("abc"));
  expect(answered).toBe(3);
});

test("a message that lacks a part never comes, whatever else arrives, and what comes is one that was sent", () => {
  const step = fc.record({ message: fc.constantFrom("m", "o"), n: fc.integer({ min: 0, max: 3 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const joiner = new Joiner();
      for (const [at, { message, n }] of steps.entries()) {
        const whole = joiner.join(part(message, n, 3, word(`${message}${n}`)));
        const last = steps.slice(Math.max(0, at - 2), at + 1);
        const isWhole = last.length === 3 && last.every((one, place) => one.message === message && one.n === place);
        expect(whole).toEqual(isWhole ? word(`${message}0${message}1${message}2`) : undefined);
      }
    }),
    { examples: [[[0, 1, 2].map((n) => ({ message: "m", n }))]] },
  );
});

test.each([
  ["more than a message holds", 40, new Uint8Array(BODY_BYTES_MAX / 20)],
  ["more parts than a message has", 1_000, new Uint8Array(0)],
  ["no number of parts at all", Number.NaN, new Uint8Array(0)],
])("D3 %s is not kept", (_what, count, bytes) => {
  const joiner = new Joiner();
  answered = 0;
  for (let n = 0; n < (count || 10); n++) expect(joiner.join(part("m", n, count, bytes))).toBeUndefined();
  expect(answered).toBeLessThanOrEqual(20);
});

test("D4 only what was held back for long is told", () => {
  expect(heldFor(20)).toBeUndefined();
  expect(heldFor(1_234.5)?.get("Ocx-Held-Ms")).toBe("1235");
});
