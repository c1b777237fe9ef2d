/** Real members of etcd on the loopback: they become three, lose one in every way, and let nobody in who is not one of them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { seeMembers } from "../../cluster/src/store/etcd-members.ts";
import type { EtcdServer } from "../../cluster/src/store/etcd-server.ts";
import { openTestEtcd, type TestEtcd } from "../support/etcd.ts";

let etcd: TestEtcd;
beforeAll(async () => {
  etcd = await openTestEtcd();
});
afterAll(() => etcd?.stop());

test("one begins, two more listen first and then vote", async () => {
  const t0 = performance.now();
  await etcd.start("a", { kind: "first" });
  console.log("first", performance.now() - t0);
  await etcd.add("b");
  console.log("two", performance.now() - t0);
  await etcd.add("c");
  console.log("three", performance.now() - t0);
  const seen = await seeMembers(etcd.client());
  expect(seen.map(({ name, learner, status }) => [name, learner, status?.version])).toEqual([]);
});
