/**
 * F08, F27, F28 by strace on the coordinator's main thread, which is the one that syncs the database: killed at its n-th
 * sync, its syncs slow, one of its syncs failed.
 */
import { spawnSync } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Manner } from "../../scripts/daemon.ts";
import { startPair, until, type TestCluster } from "../support/daemon.ts";
import { listen } from "../support/feed.ts";
import { LOAD_POLICY, MixedLoad } from "../support/mixed-load.ts";

/** Needs strace and the right to trace one's own children. */
const canTrace = process.platform === "linux" && spawnSync("strace", ["-o", "/dev/null", "true"]).status === 0;

/** Every sync of a start, of a small load and of some of what follows; as many as fit in five minutes. */
const SYNCS = 60;
const LIMIT_MS = 300_000;
const STRUCK_MS = 20_000;

let cluster: TestCluster;
let load: MixedLoad;
beforeAll(async () => {
  if (!canTrace) return;
  ({ cluster } = await startPair({ slots: 8, policy: LOAD_POLICY }));
  load = new MixedLoad(cluster);
});
afterAll(() => cluster?.end());

/** The daemon is the traced process itself, so that its pid and its end are its own (-D). nats-server is not traced. */
function traced(injection: string): Manner {
  return { under: ["strace", "-D", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", `inject=fsync,fdatasync:${injection}`] };
}

describe.skipIf(!canTrace)("the coordinator (needs strace that may trace),", () => {
  test(
    `is killed at its n-th sync, n from 1 to ${SYNCS}`,
    async ({ annotate }) => {
      const begun = performance.now();
      let struck = 0;
      let n = 1;
      for (; n <= SYNCS && performance.now() - begun < LIMIT_MS; n += 1) {
        await cluster.lead.kill();
        const came = await cluster.lead.start(traced(`signal=SIGKILL:when=${n}`)).then(
          () => true,
          () => false,
        );
        const sent = came ? load.start() : undefined;
        if (came) await Promise.race([cluster.lead.ended(), pause(STRUCK_MS, undefined, { ref: false })]);
        // Some n are beyond what the load makes it sync; then it is killed at rest.
        struck += Number(await isGone());
        await cluster.lead.kill();
        await cluster.lead.start();
        await (sent ?? load.start());
        expect(await load.broken(), `killed at sync ${n}`).toEqual([]);
      }
      await annotate(`killed at ${struck} syncs of ${n - 1} tried, ${load.promises.count} submits answered`);
      expect(struck).toBeGreaterThan(5);
    },
    2 * LIMIT_MS,
  );

  test("syncs slowly, half a second each: nothing fails, and no node is taken for lost", async () => {
    await cluster.lead.kill();
    await cluster.lead.start(traced("delay_enter=500000"));
    const feed = listen(cluster.client);
    await until("both nodes are there", async () => ((await cluster.client.nodesOnline()).nodes.length === 2 ? true : undefined));
    await load.start();
    expect(await load.broken()).toEqual([]);
    await feed.end();
    expect(feed.events.filter((event) => event.type === "node" && event.state !== "ready")).toEqual([]);
  });

  test("meets one sync that fails: it ends, says why, and has everything that was answered when it is back", async () => {
    await cluster.lead.kill();
    await cluster.lead.start(traced("error=EIO:when=20"));
    const sent = load.start();
    const end = await cluster.lead.ended();
    expect(end.code).toBe(1);
    expect(end.stderr).toMatch(/error: The database's file or disk failed.* \(store_failed\)\n hint: .*disk/);
    await cluster.lead.start();
    await sent;
    expect(await load.broken()).toEqual([]);
  });
});

/** Whether it ended before anybody here ended it. */
async function isGone(): Promise<boolean> {
  return Promise.race([cluster.lead.ended().then(() => true), pause(0).then(() => false)]);
}
