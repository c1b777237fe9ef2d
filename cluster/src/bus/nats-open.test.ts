import { expect, test } from "vitest";
import { OpenConnections, type Census, type Seen } from "./nats-open.ts";

const census = (servers: Record<string, Seen[]>): Census => new Map(Object.entries(servers));
const u = (connection: number): Seen => ({ user: "u", connection });

test("a user is there until the last of its connections has ended, on whichever server", () => {
  const open = new OpenConnections();
  open.begin("u", "one", 1);
  open.begin("u", "two", 1);
  open.end("u", "one", 1);
  expect(open.has("u")).toBe(true);
  open.end("u", "two", 1);
  expect(open.has("u")).toBe(false);
});

test("a census adds what no event has told, and takes away what is no more", () => {
  const open = new OpenConnections();
  open.begin("gone", "one", 7);
  open.censusAsked();
  open.mend(census({ one: [u(1)] }));
  expect([open.has("u"), open.has("gone")]).toEqual([true, false]);
});

test("what has begun or ended since a census was asked for stays so (O1)", () => {
  const open = new OpenConnections();
  open.begin("u", "one", 1);
  open.censusAsked();
  open.end("u", "one", 1);
  open.begin("new", "one", 2);
  open.mend(census({ one: [u(1)] }));
  expect([open.has("u"), open.has("new")]).toEqual([false, true]);
});

test("what hung on a server that is silent twice has ended with it; once may be chance (O2)", () => {
  const open = new OpenConnections();
  open.begin("u", "two", 1);
  open.mend(census({ one: [] }));
  expect(open.has("u")).toBe(true);
  open.mend(census({ one: [] }));
  expect(open.has("u")).toBe(false);
  expect([...open.servers()]).toEqual(["one"]);
});

test("a connection counts against an end only where its server vouches for it, or it is news", () => {
  const open = new OpenConnections();
  open.begin("u", "dead", 1);
  open.censusAsked();
  expect(open.isVouchedFor("u", census({ one: [] }))).toBe(false);
  open.begin("u", "one", 2);
  expect(open.isVouchedFor("u", census({ one: [] }))).toBe(true);
});
