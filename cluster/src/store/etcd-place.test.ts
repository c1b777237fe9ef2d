import { expect, onTestFinished, test } from "vitest";
import { startTestEtcd } from "../../../tests/support/etcd.ts";
import { systemClock } from "../system/clock.ts";
import { openEtcdStore } from "./etcd.ts";
import { queued } from "./store.fixtures.ts";

test(
  "who is given up waits for nobody: what is under way is told as unknown, and what was asked as unavailable",
  { timeout: 60_000 },
  async () => {
    const etcd = await startTestEtcd();
    onTestFinished(() => etcd.stop());
    const [pid = 0] = etcd.pids;
    const prefix = etcd.prefix();
    // Its patience is never over by itself.
    const store = await openEtcdStore({ client: etcd.client, prefix, clock: { ...systemClock, monotonic: () => 0 } });
    const { epoch } = await store.claim();
    process.kill(pid, "SIGSTOP");
    try {
      const commit = store.commit({ epoch, created: [queued(1)] });
      const read = store.submitKey("somebody", "key");
      const ends = Promise.allSettled([commit, read]);
      store.giveUp();
      expect(await ends).toMatchObject([{ reason: { name: "StoreBroken" } }, { reason: { code: "unavailable" } }]);
      await store.close();
    } finally {
      process.kill(pid, "SIGCONT");
    }
    // It was sent, so it may have been taken; its successor knows.
    const next = await openEtcdStore({ client: etcd.client, prefix });
    await next.claim();
    expect([0, 1]).toContain((await next.load()).live.length);
    await next.close();
  },
);
