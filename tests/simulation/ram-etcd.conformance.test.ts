/** The etcd in memory that worlds with several coordinators stand on: the store and the leadership find in it what a real one gives. */
import { systemClock } from "../../cluster/src/system/clock.ts";
import { openEtcdStore } from "../../cluster/src/store/etcd.ts";
import { describeLeadership } from "../../cluster/src/store/leadership.conformance.ts";
import { describeStore } from "../../cluster/src/store/store.conformance.ts";
import { RamEtcd, ramEtcdClient } from "../support/ram-etcd.ts";

const prefix = "test/";
const fresh = () => ramEtcdClient(new RamEtcd(systemClock, Math.random));

describeLeadership("etcd in memory", () => ({ client: fresh(), prefix }));

describeStore("etcd in memory", async () => {
  const client = fresh();
  let store = await openEtcdStore({ client, prefix });
  return {
    store,
    async reopen() {
      await store.close();
      return (store = await openEtcdStore({ client, prefix }));
    },
    end: () => store.close(),
  };
});
