/** Which address a request goes to, with channels whose answers are given by hand. Against real servers: tests/integration/client-addresses.test.ts. */
import { expect, test } from "vitest";
import { ClusterError, toProblem } from "../errors.ts";
import { openAddresses } from "./addresses.ts";
import { ConnectionBroken, type Channel, type HttpReply, type HttpRequest } from "./transport.ts";

const READ: HttpRequest = { method: "GET", path: "/api/v1/queue", headers: {}, idleMs: 1_000, safe: true };
const CHANGE: HttpRequest = { method: "POST", path: "/api/v1/tasks/t1/cancel", headers: {}, idleMs: 1_000 };
const OK: HttpReply = { status: 200, retryAfter: undefined, text: "{}" };
const noLeader: HttpReply = {
  status: 503,
  retryAfter: "60",
  text: JSON.stringify(toProblem(new ClusterError("unavailable", "no leader"))),
};
const A = "http://a";
const B = "http://b";
const C = "http://c";

type Behaviour = () => HttpReply | Error;

/** `behave` may be changed at any time; `asked` names the address of each request that is no probe. */
function cluster(behave: Record<string, Behaviour>): { channel: Channel; asked: string[]; probed: string[] } {
  const asked: string[] = [];
  const probed: string[] = [];
  const channel = openAddresses(Object.keys(behave), ({ origin }) => ({
    send: async ({ path }) => {
      (path === "/healthz" ? probed : asked).push(origin);
      await new Promise(setImmediate);
      const answer = (behave[origin] as Behaviour)();
      if (answer instanceof Error) throw answer;
      return answer;
    },
    stream: () => Promise.reject(new Error("not asked for")),
    soon: (run) => void setImmediate(run),
    close: () => undefined,
  }));
  return { channel, asked, probed };
}

const dead: Behaviour = () => new ConnectionBroken("ECONNREFUSED", false, undefined);
const cut: Behaviour = () => new ConnectionBroken("ECONNRESET", true, undefined);
const alive: Behaviour = () => OK;
const stranger: Behaviour = () => new ClusterError("certificate_refused", "another authority");

test("one is used until it fails; many that fail there together move on once", async () => {
  const behave: Record<string, Behaviour> = { [A]: alive, [B]: alive, [C]: alive };
  const { channel, asked } = cluster(behave);
  await channel.send(READ);
  await channel.send(READ);
  expect(asked).toEqual([A, A]);
  behave[A] = cut;
  await Promise.all(Array.from({ length: 10 }, () => channel.send(READ)));
  asked.length = 0;
  await channel.send(READ);
  expect(asked).toEqual([B]);
});

test("each is asked once in a round, and what is told is what came last as an answer", async () => {
  const { channel, asked } = cluster({ [A]: dead, [B]: () => noLeader, [C]: cut });
  expect(await channel.send(READ)).toBe(noLeader);
  expect(asked).toEqual([A, B, C]);
  const silent = cluster({ [A]: dead, [B]: cut });
  await expect(silent.channel.send(READ)).rejects.toMatchObject({
    name: "ConnectionBroken",
    message: `${A} (ECONNREFUSED), ${B} (ECONNRESET)`,
    sent: true,
  });
});

test("a certificate that is not believed is one machine's fault, unless it is everybody's", async () => {
  const one = cluster({ [A]: stranger, [B]: alive });
  expect(await one.channel.send(CHANGE)).toBe(OK);
  await expect(cluster({ [A]: stranger, [B]: dead }).channel.send(READ)).rejects.toMatchObject({ name: "ConnectionBroken" });
  await expect(cluster({ [A]: stranger, [B]: stranger }).channel.send(READ)).rejects.toMatchObject({ code: "certificate_refused" });
});

test("a change goes on where it was surely not done, and nowhere else", async () => {
  const behave: Record<string, Behaviour> = { [A]: dead, [B]: alive };
  const first = cluster(behave);
  expect(await first.channel.send(CHANGE)).toBe(OK);
  // Nobody was heard of before: both were probed, and the dead one was sent nothing.
  expect([first.probed, first.asked]).toEqual([[A, B], [B]]);
  expect(await first.channel.send(CHANGE)).toBe(OK);
  expect(first.probed).toEqual([A, B]);
  behave[B] = cut;
  await expect(first.channel.send(CHANGE)).rejects.toMatchObject({ message: `${B} (ECONNRESET)`, sent: true });
  expect(first.asked).toEqual([B, B, B]);
});

test("where nothing answers a probe, a change was surely not done", async () => {
  await expect(cluster({ [A]: dead, [B]: cut }).channel.send(CHANGE)).rejects.toMatchObject({ sent: false });
});

test("any other answer is the cluster's word", async () => {
  const full: HttpReply = { status: 429, retryAfter: "5", text: JSON.stringify(toProblem(new ClusterError("overloaded", "full"))) };
  const { channel, asked } = cluster({ [A]: () => full, [B]: alive });
  expect(await channel.send(READ)).toBe(full);
  expect(await channel.send(READ)).toBe(full);
  expect(asked).toEqual([A, A]);
});

test("a fault of ours is thrown as it is", async () => {
  const { channel } = cluster({ [A]: () => new TypeError("a bug"), [B]: alive });
  await expect(channel.send(READ)).rejects.toThrow("a bug");
});
