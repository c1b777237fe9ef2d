import { expect, test } from "vitest";
import { RamEtcd, ramEtcdClient } from "../../../tests/support/ram-etcd.ts";
import { systemClock } from "../system/clock.ts";
import type { EtcdClient } from "./etcd-client.ts";
import { EtcdFault } from "./etcd-client.ts";
import { lossy } from "./etcd.fixtures.ts";
import { Keys } from "./etcd-keys.ts";
import { openEtcdStandbyWords } from "./etcd-standby-words.ts";

const PREFIX = "t/";
const LEADER = { node: "studio", urls: ["http://studio:8888"], heedsWords: true } as const;
const word = (n: number) => ({ node: "nas", boot: "one", n, heard: n - 1, saidMs: 0 });

async function cluster(): Promise<{ client: EtcdClient; lead(epoch: number, leader?: object): Promise<void> }> {
  const client = ramEtcdClient(new RamEtcd(systemClock, Math.random));
  const keys = new Keys(PREFIX);
  const lead = async (epoch: number, leader: object = LEADER): Promise<void> => {
    const then = [
      { put: keys.epoch, value: `${epoch} mark${epoch}` },
      { put: keys.leader, value: JSON.stringify(leader) },
    ];
    await client.transact({ when: [], then });
  };
  await lead(1);
  return { client, lead };
}

test("a word is taken in the term that goes on, which is told with whoever leads in it", async () => {
  const { client, lead } = await cluster();
  const words = openEtcdStandbyWords({ client, prefix: PREFIX });
  expect(await words.left("nas")).toBe(false);
  expect(await words.write(word(1))).toEqual({ epoch: 1, leader: LEADER });
  expect(await words.read()).toEqual([{ ...word(1), epoch: 1 }]);
  await lead(2, { node: "attic", urls: [] });
  // W1: not in the one that it was begun in.
  expect(await words.write(word(2))).toEqual({ epoch: 2, leader: { node: "attic", urls: [] } });
  expect(await words.read()).toEqual([{ ...word(2), epoch: 2 }]);
});

test("the next life finds it, until it is removed", async () => {
  const { client } = await cluster();
  const words = openEtcdStandbyWords({ client, prefix: PREFIX });
  await words.write(word(1));
  const next = openEtcdStandbyWords({ client, prefix: PREFIX });
  expect(await next.left("nas")).toBe(true);
  expect(await next.left("attic")).toBe(false);
  await next.remove("nas");
  expect(await openEtcdStandbyWords({ client, prefix: PREFIX }).left("nas")).toBe(false);
});

test("one whose answer was lost is followed all the same, and one that is held up follows nobody (W2)", async () => {
  const { client } = await cluster();
  const words = openEtcdStandbyWords({ client: lossy(client, ["none", "none", "answer", "none", "none"]), prefix: PREFIX });
  await words.write(word(1));
  await expect(words.write(word(2))).rejects.toBeInstanceOf(EtcdFault);
  expect((await words.read()).map(({ n }) => n)).toEqual([2]);
  await words.write(word(3));
  expect((await words.read()).map(({ n }) => n)).toEqual([3]);
  const former = openEtcdStandbyWords({ client: lossy(client, ["none", "request"]), prefix: PREFIX });
  await former.left("nas");
  await expect(former.write(word(7))).rejects.toBeInstanceOf(EtcdFault);
  await words.write(word(4));
  expect((await words.read()).map(({ n }) => n)).toEqual([4]);
});

test("what is none is not read", async () => {
  const { client } = await cluster();
  await client.transact({ when: [], then: [{ put: `${PREFIX}words/nas`, value: "no JSON" }] });
  expect(await openEtcdStandbyWords({ client, prefix: PREFIX }).read()).toEqual([]);
});
