import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { BodyRoom } from "../../system/body-room.ts";
import { readJson, readWhole } from "./line-body.ts";
import { QUESTION_FIELDS_MAX } from "../models.ts";

const MIB = 1024 * 1024;
const over = new AbortController().signal;

describe("a question from the line", () => {
  const read = (text: string): Promise<object> =>
    readJson(Readable.from([Buffer.from(text)]), { bytesMax: 8 * MIB, room: new BodyRoom(16 * MIB, 0), over });
  const fields = (count: number): string => `{"a":[${Array.from({ length: count - 3 }, () => "[]").join()}]}`;

  it("has so many lists, objects and fields, and is not parsed where it has more", async () => {
    expect(await read(fields(QUESTION_FIELDS_MAX))).toHaveProperty("a");
    await expect(read(fields(QUESTION_FIELDS_MAX + 1))).rejects.toMatchObject({ kind: "garbage" });
    // What is no JSON behind them shows that it was not read.
    await expect(read(`${"[".repeat(QUESTION_FIELDS_MAX + 1)}`)).rejects.toThrow(/lists, objects and fields/);
  });
});

describe("what is read whole", () => {
  const bytesOf = (count: number): Readable => Readable.from(Array.from({ length: count }, () => Buffer.from("x")));

  it("is as long as is allowed, in pieces of any size", async () => {
    expect((await readWhole(bytesOf(1_000), 1_000)).toString()).toBe("x".repeat(1_000));
    await expect(readWhole(bytesOf(1_001), 1_000)).rejects.toMatchObject({ kind: "too_large" });
  });
});
