/** Who leads, by a real etcd. */
import { afterAll, beforeAll } from "vitest";
import { describeLeadership } from "../../cluster/src/store/leadership.conformance.ts";
import { startTestEtcd, type TestEtcd } from "../support/etcd.ts";

let etcd: TestEtcd;
beforeAll(async () => {
  etcd = await startTestEtcd();
});
afterAll(() => etcd?.stop());

describeLeadership("etcd", () => ({ client: etcd.client, prefix: etcd.prefix() }));
