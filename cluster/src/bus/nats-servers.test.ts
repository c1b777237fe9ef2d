import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import type { Server } from "@nats-io/nats-core";
import { expect, test } from "vitest";
import { Knocking, placeOf, ServerChoice } from "./nats-servers.ts";

const poolOf = (...places: string[]): Server[] => places.map((listen) => ({ listen }) as Server);
const POOL = poolOf("a:1", "b:1", "c:1");
const picks = (choice: ServerChoice, count: number, pool = POOL): (string | undefined)[] =>
  Array.from({ length: count }, () => choice.pick(pool)?.listen);

test("a place is what the client library calls a server", () => {
  expect([placeOf("nats://127.0.0.1:4222"), placeOf("tls://[fd7a::1]:4222")]).toEqual(["127.0.0.1:4222", "[fd7a::1]:4222"]);
});

test("each is tried once before one is tried again, and the one that was lost last of all (V1)", () => {
  const choice = new ServerChoice();
  choice.arrived("a:1");
  expect(picks(choice, 3)).toEqual(["b:1", "c:1", "a:1"]);
  expect(picks(choice, 3)).toEqual(["b:1", "c:1", "a:1"]);
});

test("those that have just taken a call come first, the quickest of them before the others; not the one that was lost", () => {
  const choice = new ServerChoice();
  choice.arrived("a:1");
  for (const place of ["a:1", "c:1"]) choice.answers(place);
  expect(picks(choice, 3)).toEqual(["c:1", "b:1", "a:1"]);
  choice.arrived("c:1");
  expect(picks(choice, 3)).toEqual(["a:1", "b:1", "c:1"]);
});

test("knocks at all at once, and tells who takes the call; one that nobody answers holds up none", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const heard: string[] = [];
  const knocking = new Knocking();
  const first = knocking.knock([`127.0.0.1:${port}`, "127.0.0.1:1"], (place) => heard.push(place));
  await knocking.knock([`127.0.0.1:${port}`], (place) => heard.push(`again ${place}`));
  await first;
  server.close();
  expect(heard).toEqual([`127.0.0.1:${port}`]);
});

test("where there is only one, it is that one each time", () => {
  const choice = new ServerChoice();
  choice.arrived("a:1");
  expect(picks(choice, 2, poolOf("a:1"))).toEqual(["a:1", "a:1"]);
});

test("who goes home tries home first, and where that fails the others", () => {
  const choice = new ServerChoice();
  choice.arrived("a:1");
  choice.aim("nats://c:1");
  expect(picks(choice, 3)).toEqual(["c:1", "b:1", "a:1"]);
});

test("an aim that is no server any more, and no server at all, are no error", () => {
  const choice = new ServerChoice();
  choice.aim("nats://gone:1");
  expect(picks(choice, 1)).toEqual(["a:1"]);
  expect(choice.pick([])).toBeNull();
});
