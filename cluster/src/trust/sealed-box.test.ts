import { SealedBox } from "@openclaw-cluster/contract/wire";
import { expect, it } from "vitest";
import { createReader, seal } from "./sealed-box.ts";

const TEXT = "secret ' \" 名";

it("opens for its reader and its purpose, and for nobody else", () => {
  const reader = createReader();
  const sealed = SealedBox.parse(seal(TEXT, reader.key, "handover"));
  expect(JSON.stringify(sealed)).not.toContain("secret");
  expect(reader.open(sealed, "handover")).toBe(TEXT);
  for (const open of [() => reader.open(sealed, "another"), () => createReader().open(sealed, "handover")])
    expect(open).toThrow(expect.objectContaining({ code: "bad_request" }));
});

it("is never the same twice, and shows whatever was changed in it", () => {
  const reader = createReader();
  const sealed = seal(TEXT, reader.key, "handover");
  expect(seal(TEXT, reader.key, "handover").box).not.toBe(sealed.box);
  const other = (text: string): string => (text.startsWith("A") ? "B" : "A") + text.slice(1);
  const changed = [
    { ...sealed, box: other(sealed.box) },
    { ...sealed, nonce: other(sealed.nonce) },
    { ...sealed, key: createReader().key },
    { ...sealed, box: sealed.box.slice(0, 8) },
  ];
  for (const one of changed) expect(() => reader.open(one, "handover")).toThrow(expect.objectContaining({ code: "bad_request" }));
});

it("takes nothing for a key that is none", () => {
  expect(() => seal(TEXT, "A".repeat(59), "handover")).toThrow(expect.objectContaining({ code: "bad_request" }));
});
