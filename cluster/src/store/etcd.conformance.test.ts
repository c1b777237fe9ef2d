/** The contract twice: as the store folds by itself, and with every batch folded at once, so that all is read from etcd. */
import { afterAll, beforeAll } from "vitest";
import { startTestEtcd, type TestEtcd } from "../../../tests/support/etcd.ts";
import { openEtcdStore, type EtcdStore } from "./etcd.ts";
import { describeStore } from "./store.conformance.ts";
import type { Batch, Store } from "./store.ts";

let etcd: TestEtcd;
beforeAll(async () => {
  etcd = await startTestEtcd();
});
afterAll(() => etcd.stop());

for (const [name, kept] of [
  ["etcd", (store: EtcdStore): Store => store],
  ["etcd, folded at once,", folding],
] as const) {
  describeStore(name, async () => {
    const { client } = etcd;
    const prefix = etcd.prefix();
    let store = await openEtcdStore({ client, prefix });
    return {
      store: kept(store),
      async reopen() {
        await store.close();
        return kept((store = await openEtcdStore({ client, prefix })));
      },
      end: () => store.close(),
    };
  });
}

function folding(store: EtcdStore): Store {
  const commit = async (batch: Batch): Promise<void> => {
    await store.commit(batch);
    await store.fold();
  };
  return new Proxy(store, {
    get: (target, name: keyof EtcdStore) => {
      if (name === "commit") return commit;
      const its = target[name];
      return typeof its === "function" ? its.bind(target) : its;
    },
  });
}
