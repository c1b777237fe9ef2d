import { expect, test } from "vitest";
import { lostAfterMs, PAUSE_MS } from "./liveness.ts";
import { WordBook, type StandbyWord } from "./word-book.ts";

const EPOCH = 3;
const NODE = "mini";
/** The node's own lease is over then. */
const OVER = 100_000;
const LASTS_MS = PAUSE_MS + lostAfterMs({});

const word = (n: number, more: Partial<StandbyWord> = {}): StandbyWord => ({
  ...{ node: "nas", boot: "one", n, heard: n - 1, epoch: EPOCH, saidMs: 0 },
  ...more,
});
const bindsAt = (book: WordBook, now: number, node = NODE): string | undefined => book.binds(node, OVER, EPOCH, now);

test("nothing is known until something was read that was asked for after the lease's end (B1)", () => {
  const book = new WordBook();
  book.read([], OVER - 1, OVER + 10);
  expect(bindsAt(book, OVER + 10)).toBe("unread");
  book.read([], OVER, OVER + 10);
  expect(bindsAt(book, OVER + 10)).toBeUndefined();
});

test("a control node is believed when it has heard that what it wrote after a reading was taken (B2)", () => {
  const book = new WordBook();
  book.read([word(5)], OVER, OVER);
  expect(bindsAt(book, OVER)).toBe("nas");
  // Sent before, perhaps, and long under way.
  book.read([word(6, { heard: 5 })], OVER + 1_000, OVER + 1_000);
  expect(bindsAt(book, OVER + 1_000)).toBe("nas");
  book.read([word(7, { heard: 6 })], OVER + 2_000, OVER + 2_000);
  expect(bindsAt(book, OVER + 2_000)).toBeUndefined();
});

test("what it says that it has said holds, to the last of it", () => {
  const book = new WordBook();
  book.read([word(5)], OVER, OVER);
  book.read([word(9, { heard: 8, saidMs: 90_000 })], OVER + 5_000, OVER + 5_000);
  book.read([word(10, { heard: 9, saidMs: 0 })], OVER + 6_000, OVER + 6_000);
  const end = OVER + 5_000 + 90_000 + lostAfterMs({});
  expect(bindsAt(book, end - 1)).toBe("nas");
  expect(bindsAt(book, end)).toBeUndefined();
});

test("one that is gone has said nothing that lasts longer than a pause from when it was last read anew (B3)", () => {
  const book = new WordBook();
  book.read([word(5)], OVER - 60_000, OVER - 60_000);
  for (let at = OVER - 59_000; at <= OVER + LASTS_MS; at += 1_000) book.read([word(5)], at, at);
  expect(bindsAt(book, OVER - 60_000 + LASTS_MS - 1)).toBe("nas");
  expect(bindsAt(book, OVER - 60_000 + LASTS_MS)).toBeUndefined();
});

test("a new life of it is a stranger, whatever it has heard", () => {
  const book = new WordBook();
  book.read([word(5)], OVER, OVER);
  book.read([word(9, { boot: "two", heard: 8 })], OVER + 1_000, OVER + 1_000);
  expect(bindsAt(book, OVER + 1_000)).toBe("nas");
});

test("words of another term, and to one's own machine, bind nobody (B4)", () => {
  const book = new WordBook();
  book.read([word(5, { epoch: EPOCH - 1 }), word(1, { node: NODE })], OVER, OVER);
  expect(bindsAt(book, OVER)).toBeUndefined();
  expect(bindsAt(book, OVER, "other")).toBe(NODE);
});

test("one that has left binds nobody", () => {
  const book = new WordBook();
  book.read([word(5)], OVER, OVER);
  book.read([], OVER + 1_000, OVER + 1_000);
  expect(bindsAt(book, OVER + 1_000)).toBeUndefined();
});
