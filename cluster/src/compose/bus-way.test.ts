/** Over which nats-servers nodes speak to whoever leads: B1 and B2 of bus-way.ts. */
import { beforeEach, expect, test } from "vitest";
import type { ControlNode } from "../store/control-nodes.ts";
import type { ControlSeat } from "../store/control-seats.ts";
import { BusWay } from "./bus-way.ts";

/** A list, and who listens for its changes. */
class Heard<T> {
  all: readonly T[] = [];
  readonly listeners = new Set<() => void>();
  onChange = (listener: () => void) => {
    this.listeners.add(listener);
    return { stop: () => void this.listeners.delete(listener) };
  };
  is(all: readonly T[]): void {
    this.all = all;
    for (const listener of this.listeners) listener();
  }
}

const seat = (node: string): ControlSeat => ({ node, route: { serverName: node, host: "127.0.0.1", port: 6222 } });
const up = (node: string): ControlNode => ({ node, version: "0", apiUrls: [], busUrls: [urlOf(node)] });
const urlOf = (node: string): string => `nats://${node}:4222`;

let seats: Heard<ControlSeat>;
let controlNodes: Heard<ControlNode>;
let leader: Heard<string>;
let way: BusWay;
beforeEach(() => {
  [seats, controlNodes, leader] = [new Heard(), new Heard(), new Heard()];
  const leadership = {
    get leader() {
      const [node] = leader.all;
      return node === undefined ? undefined : { node, urls: [] };
    },
    onLeader: (listener: () => void) => leader.onChange(listener),
  };
  way = new BusWay({ node: "one", own: [urlOf("one")], seats, controlNodes, leadership } as never);
});

test("two control nodes: only the server of whoever leads is heard, and each keeps what is its own", () => {
  seats.is(["one", "two"].map(seat));
  controlNodes.is(["one", "two"].map(up));
  leader.is(["two"]);
  expect([way.clustered, way.copies()]).toEqual([false, 1]);
  // What this machine's coordinator would tell if it led.
  expect(way.told()).toEqual([urlOf("one")]);
  expect(way.forOwnNode()).toEqual([urlOf("two")]);
  leader.is(["one"]);
  expect(way.forOwnNode()).toEqual([urlOf("one")]);
});

test("nobody leads, or one of whom nothing is heard: its own node has nowhere to go yet", () => {
  seats.is(["one", "two"].map(seat));
  controlNodes.is([up("one")]);
  expect(way.forOwnNode()).toEqual([]);
  leader.is(["two"]);
  expect(way.forOwnNode()).toEqual([]);
});

test("from three on the servers are one, each its own first, whether all are up or not", () => {
  seats.is(["one", "two", "three"].map(seat));
  controlNodes.is(["one", "three"].map(up));
  expect([way.clustered, way.copies()]).toEqual([true, 3]);
  expect(way.told()).toEqual([urlOf("one"), urlOf("three")]);
  leader.is(["two"]);
  expect(way.forOwnNode()).toEqual([urlOf("one"), urlOf("three")]);
});

test("a listener hears at once, then each change once, never that there is nothing; and no more after its stop", () => {
  const heard: string[] = [];
  seats.is(["one", "two"].map(seat));
  const subscription = way.onChange(
    () => way.forOwnNode(),
    (urls) => heard.push(urls.join(" ")),
  );
  expect(heard).toEqual([]);
  controlNodes.is(["one", "two"].map(up));
  leader.is(["two"]);
  leader.is(["two"]);
  leader.is([]);
  leader.is(["two"]);
  leader.is(["one"]);
  expect(heard).toEqual([urlOf("two"), urlOf("one")]);
  seats.is(["one", "two", "three"].map(seat));
  expect(heard.slice(2)).toEqual([[urlOf("one"), urlOf("two")].join(" ")]);
  subscription.stop();
  leader.is(["two"]);
  seats.is([]);
  expect(heard).toHaveLength(3);
  expect([seats, controlNodes, leader].map(({ listeners }) => listeners.size)).toEqual([0, 0, 0]);
});
