import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { QuestionRoom, readJson } from "./line-body.ts";
import { QUESTION_FIELDS_MAX } from "./models.ts";

const MIB = 1024 * 1024;
const over = new AbortController().signal;

describe("a question from the line", () => {
  const read = (text: string): Promise<object> =>
    readJson(Readable.from([Buffer.from(text)]), { bytesMax: 8 * MIB, room: new QuestionRoom(16 * MIB), over });
  const fields = (count: number): string => `{"a":[${Array.from({ length: count - 3 }, () => "[]").join()}]}`;

  it("has so many lists, objects and fields, and is not parsed where it has more", async () => {
    expect(await read(fields(QUESTION_FIELDS_MAX))).toHaveProperty("a");
    await expect(read(fields(QUESTION_FIELDS_MAX + 1))).rejects.toMatchObject({ kind: "garbage" });
    // What is no JSON behind them shows that it was not read.
    await expect(read(`${"[".repeat(QUESTION_FIELDS_MAX + 1)}`)).rejects.toThrow(/lists, objects and fields/);
  });
});
