/** Inserts many rows with few statements: a call into SQLite costs as much as a short row. Saves 15 % of a new task. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Value } from "./sqlite-rows.ts";

const ROWS_PER_STATEMENT = 16;

export class Insert<Item> {
  private readonly one: StatementSync;
  private readonly many: StatementSync;
  private readonly put: (item: Item, values: Value[]) => void;
  /** Used again for each statement: a row then costs no array of its own. */
  private readonly values: Value[] = [];

  /** `put` appends the values of one row, in the order of `columns`. */
  constructor(database: DatabaseSync, into: string, columns: readonly string[], put: (item: Item, values: Value[]) => void) {
    const marks = `(${columns.map(() => "?").join(", ")})`;
    const head = `INSERT ${into} (${columns.join(", ")}) VALUES`;
    this.one = database.prepare(`${head} ${marks}`);
    this.many = database.prepare(`${head} ${Array(ROWS_PER_STATEMENT).fill(marks).join(", ")}`);
    this.put = put;
  }

  run(items: readonly Item[]): void {
    const whole = items.length - (items.length % ROWS_PER_STATEMENT);
    for (let first = 0; first < whole; first += ROWS_PER_STATEMENT) this.rows(this.many, items, first, first + ROWS_PER_STATEMENT);
    for (let index = whole; index < items.length; index += 1) this.rows(this.one, items, index, index + 1);
  }

  private rows(statement: StatementSync, items: readonly Item[], first: number, end: number): void {
    const { values } = this;
    values.length = 0;
    for (let index = first; index < end; index += 1) this.put(items[index] as Item, values);
    statement.run(...values);
  }
}
