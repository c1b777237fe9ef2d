import { describe, expect, it } from "vitest";
import { TestTerminal } from "../../../tests/support/terminal.ts";
import { facts, table, type Column } from "./table.ts";

interface Row {
  readonly id: string;
  readonly count?: number;
  readonly name: string;
}

const columns: readonly Column<Row>[] = [
  { title: "ID", value: ({ id }) => id, style: () => "red" },
  { title: "COUNT", value: ({ count }) => count?.toString(), right: true },
  { title: "NAME", value: ({ name }) => name, cut: true },
];
const pipe = new TestTerminal();

describe("a table", () => {
  it("lines up columns, numbers to the right", () => {
    const rows = [
      { id: "a", count: 7, name: "x" },
      { id: "long", count: 1_000, name: "y" },
    ];
    expect(table(pipe, rows, columns)).toBe("ID    COUNT  NAME\na         7  x\nlong   1000  y\n");
  });

  it("counts Chinese and emoji as the screen does", () => {
    const rows = [
      { id: "集群", name: "x" },
      { id: "🦞", name: "y" },
      { id: "abcde", name: "z" },
    ];
    expect(table(pipe, rows, columns)).toBe("ID     NAME\n集群   x\n🦞     y\nabcde  z\n");
  });

  it("leaves out a column that says nothing", () => expect(table(pipe, [{ id: "a", name: "b" }], columns)).toBe("ID  NAME\na   b\n"));

  it("cuts the last column at the screen's edge, and nothing in a pipe", () => {
    const rows = [{ id: "a", name: "集群".repeat(20) }];
    const screen = table(new TestTerminal({ columns: 20 }), rows, columns);
    expect(screen.split("\n")[1]).toBe("a   集群集群集群集…");
    expect(table(pipe, rows, columns)).toContain("集群".repeat(20));
  });

  it("paints after it has measured", () => {
    const painted = table(new TestTerminal({ colour: true }), [{ id: "a", name: "b" }], columns);
    expect(painted).toBe("\u001b[1mID\u001b[22m  \u001b[1mNAME\u001b[22m\n\u001b[31ma\u001b[39m   b\n");
  });

  it("lets no cell steer the terminal", () => {
    const rows = [{ id: "a", name: "x\u001b[2Jy\r\nz\u0007" }];
    expect(table(pipe, rows, columns)).toBe("ID  NAME\na   x[2Jy z\n");
  });
});

describe("a list of facts", () => {
  it("leaves out what is not known", () => {
    const rows = [
      ["node", "studio"],
      ["labels", ""],
      ["os", undefined],
      ["集群", "x"],
    ] as const;
    expect(facts(pipe, rows)).toBe("node  studio\n集群  x\n");
  });
});
