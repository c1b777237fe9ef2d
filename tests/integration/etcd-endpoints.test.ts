/** Which of several endpoints is asked: two real etcds that have nothing to do with each other tell by what lies in them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { openEtcd } from "../../cluster/src/store/etcd-gateway.ts";
import { startTestEtcd, type TestEtcd } from "../support/etcd.ts";

const WAIT = { timeout: 15_000, interval: 20 };
const KEY = "who";

let near: TestEtcd;
let far: TestEtcd;
beforeAll(async () => {
  [near, far] = await Promise.all([startTestEtcd(), startTestEtcd()]);
  for (const [etcd, value] of [
    [near, "near"],
    [far, "far"],
  ] as const)
    await etcd.client.transact({ when: [], then: [{ put: KEY, value }] });
});
afterAll(async () => {
  await near?.stop();
  await far?.stop();
});

test("one that fails is left until it is said to serve again; then calls and watches come home", async () => {
  const client = openEtcd({ endpoints: [...near.urls, ...far.urls] });
  const asked = async (): Promise<string | undefined> =>
    (await client.range({ from: KEY, to: `${KEY}\0` }, { timeoutMs: 500 })).entries[0]?.value.toString();
  expect(await asked()).toBe("near");
  const [pid = 0] = near.pids;
  process.kill(pid, "SIGSTOP");
  const leaving = new AbortController();
  const heard: string[] = [];
  let watching: Promise<void> | undefined;
  try {
    expect(await asked()).toBe("far");
    watching = (async () => {
      for await (const changes of client.watch("news", 1, leaving.signal)) heard.push(...changes.map(({ value }) => String(value)));
    })();
    await far.client.transact({ when: [], then: [{ put: "news", value: "from far" }] });
    await expect.poll(() => heard, WAIT).toEqual(["from far"]);
  } finally {
    process.kill(pid, "SIGCONT");
  }
  expect(await asked()).toBe("far");
  client.comeHome?.();
  expect(await asked()).toBe("near");
  // It goes on from where it was, in the counting of the other; of one cluster all members count alike.
  for (let n = 0; n < 8; n += 1) await near.client.transact({ when: [], then: [{ put: "news", value: `near ${n}` }] });
  await expect.poll(() => heard.at(-1), WAIT).toBe("near 7");
  leaving.abort();
  await watching;
  client.close();
});
