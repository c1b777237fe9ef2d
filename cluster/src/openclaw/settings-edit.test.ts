import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { editSettings, type Path } from "./settings-edit.ts";
import { parseSettings } from "./settings-text.ts";

const PATH: Path = ["models", "providers", "cluster"];
const VALUE = { baseUrl: "http://127.0.0.1:7801/v1", models: [{ id: "auto" }] };

const textOf = (edited: ReturnType<typeof editSettings>): string => {
  if (edited.kind === "refused") throw new Error(edited.reason);
  return edited.text;
};
const providersOf = (text: string): unknown => (parseSettings(text) as { models: { providers: unknown } }).models.providers;

/** What stands around it, and how many objects are made for it. */
const TEXTS: readonly (readonly [name: string, text: string, made: number])[] = [
  ["plain JSON", '{\n  "models": {\n    "providers": {\n      "other": { "baseUrl": "x" }\n    }\n  },\n  "z": 1\n}\n', 0],
  [
    "comments and trailing commas",
    "// mine\n{\n\tmodels: { // ours\n\t\tproviders: {\n\t\t\tother: { a: 1, }, // keep\n\t\t},\n\t},\n}\n",
    0,
  ],
  ["a remark behind the last one", "{\n  models: {\n    providers: {\n      other: 1 // this\n      // and that\n    }\n  }\n}", 0],
  ["all on one line", '{"models":{"providers":{"other":{}}},"z":[1,{"a":2}]}', 0],
  ["one line with a comma", "{ models: { providers: { 'other': 1, } } }", 0],
  ["an empty object", '{\n  "models": {\n    "providers": {}\n  }\n}\n', 0],
  ["no providers", '{\n  "models": {\n    "mode": "merge"\n  }\n}\n', 1],
  ["no models", '{\n  "gateway": { "port": 1 }\n}\n', 2],
  ["nothing", "{}", 2],
  ["lines that end as on Windows", '{\r\n  "models": {\r\n    "providers": {\r\n      "other": 1\r\n    }\r\n  }\r\n}\r\n', 0],
];

describe("settings of OpenClaw", () => {
  test.each(TEXTS)("%s: put in and taken out, byte for byte", (_name, text, made) => {
    const put = textOf(editSettings(text, PATH, VALUE));
    expect(providersOf(put)).toMatchObject({ cluster: VALUE });
    expect(textOf(editSettings(put, PATH, undefined, made))).toBe(text);
  });

  test("put in looks as the rest does", () => {
    expect(textOf(editSettings(TEXTS[1]?.[1] as string, PATH, { a: 1 }))).toBe(
      '// mine\n{\n\tmodels: { // ours\n\t\tproviders: {\n\t\t\tother: { a: 1, }, // keep\n\t\t\t"cluster": {\n\t\t\t\t"a": 1\n\t\t\t},\n\t\t},\n\t},\n}\n',
    );
  });

  test("is put in the place of what is there, and what others put beside it stays", () => {
    const text = textOf(editSettings(TEXTS[0]?.[1] as string, PATH, VALUE));
    const again = textOf(editSettings(text, PATH, { baseUrl: "y" }));
    expect(providersOf(again)).toEqual({ other: { baseUrl: "x" }, cluster: { baseUrl: "y" } });
    const beside = textOf(editSettings(again, ["models", "providers", "later"], { b: 1 }));
    expect(providersOf(textOf(editSettings(beside, PATH, undefined, 2)))).toEqual({ other: { baseUrl: "x" }, later: { b: 1 } });
  });

  test("refuses what it does not understand", () => {
    for (const text of ["", "[]", "{ models: [] }", "{ models: { providers: 1 } }", "{ broken"])
      expect(editSettings(text, PATH, VALUE).kind).toBe("refused");
  });

  test("any JSON: what is put in is there, all else is as it was, and taken out all is", () => {
    const object = fc.dictionary(fc.string(), fc.jsonValue());
    const settings = fc.record(
      { a: fc.jsonValue(), models: fc.record({ providers: object, mode: fc.jsonValue() }, { requiredKeys: [] }) },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(settings, fc.constantFrom(undefined, 2, "\t"), (value, space) => {
        const text = JSON.stringify(value, null, space);
        if (Object.hasOwn(value.models?.providers ?? {}, "cluster") || text.includes("__proto__")) return;
        const put = textOf(editSettings(text, PATH, VALUE));
        const made = value.models === undefined ? 2 : value.models.providers === undefined ? 1 : 0;
        expect(textOf(editSettings(put, PATH, undefined, made))).toBe(text);
      }),
    );
  });
});
