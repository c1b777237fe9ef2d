import { expect, test } from "vitest";
import { BodyRoom } from "./body-room.ts";

test("large bodies have so much together, each until it is left; small ones always find room", () => {
  const room = new BodyRoom(100, 10);
  const [one, two] = [room.enter(), room.enter()];
  expect([one.hasRoomFor(20), one.hasRoomFor(60), two.hasRoomFor(40), two.hasRoomFor(41)]).toEqual([true, true, true, false]);
  expect(room.enter().hasRoomFor(10)).toBe(true);
  two.leave();
  two.leave();
  expect(two.hasRoomFor(1)).toBe(false);
  const three = room.enter();
  expect([three.hasRoomFor(40), three.hasRoomFor(41)]).toEqual([true, false]);
  three.leave();
  one.leave();
  expect(room.enter().hasRoomFor(100)).toBe(true);
});
