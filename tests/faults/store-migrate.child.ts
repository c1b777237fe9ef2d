/**
 * Run by store-migrate.test.ts: a daemon's store and nothing else of it. It opens what its settings say, lets a hundred tasks a
 * second arrive, moves the store meanwhile, and goes on over the other one; or is killed. Each line is on stdout when it is true.
 */
import { readFileSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { openEtcd } from "../../cluster/src/store/etcd-gateway.ts";
import { openEtcdTarget } from "../../cluster/src/store/etcd-target.ts";
import { openEtcdStore } from "../../cluster/src/store/etcd.ts";
import { MovableStore } from "../../cluster/src/store/movable-store.ts";
import { openSqliteTarget } from "../../cluster/src/store/sqlite-target.ts";
import { openSqliteStore } from "../../cluster/src/store/sqlite.ts";
import type { MoveSource } from "../../cluster/src/store/store-copy.ts";
import { StoreMove } from "../../cluster/src/store/store-move.ts";
import { finishMoveIntoEtcd } from "../../cluster/src/store/unfinished-move.ts";
import { systemClock } from "../../cluster/src/system/clock.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { arriving, SEEDED, seeded } from "./store-migrate.tasks.ts";

const [folder, url, prefix, to] = process.argv.slice(2) as [string, string, string, "sqlite" | "etcd"];
const EVERY_MS = 10;
const SEEDS_PER_COMMIT = 500;

const say = (...words: unknown[]): number => writeSync(1, `${words.join(" ")}\n`);
const path = join(folder, "cluster.db");
const settings = join(folder, "settings");
const client = openEtcd({ endpoints: [url] });
const place = { client, prefix, clock: systemClock, log: silentLog };

async function open(): Promise<MoveSource> {
  if (readFileSync(settings, "utf8") === "sqlite") return openSqliteStore({ path });
  await finishMoveIntoEtcd({ ...place, path, by: "studio" });
  return openEtcdStore(place);
}

async function decide(): Promise<void> {
  writeFileSync(`${settings}.new`, to);
  renameSync(`${settings}.new`, settings);
  say("decided");
}

async function arrive(store: MovableStore, from: number, epoch: number, signal: AbortSignal): Promise<void> {
  const begunAt = performance.now();
  for (let n = 0; !signal.aborted; n += 1) {
    const at = performance.now();
    await store.commit({ epoch, ...arriving(from + n) });
    say("kept", from + n, Math.round(performance.now() - at));
    const waitMs = begunAt + (n + 1) * EVERY_MS - performance.now();
    if (waitMs > 0) await new Promise((wake) => setTimeout(wake, waitMs));
  }
}

const former = await open();
const source = new MovableStore(former);
const { cluster, epoch } = await source.claim();
let { lastKey } = await source.load();
for (; lastKey < SEEDED; lastKey += SEEDS_PER_COMMIT) await source.commit({ epoch, ...seeded(lastKey + 1, lastKey + SEEDS_PER_COMMIT) });
say("open", source.kind, lastKey);
if (source.kind === to) process.exit(0);

const full = new AbortController();
const arrivals = arrive(source, lastKey + 1, epoch, full.signal);
const target = to === "etcd" ? await openEtcdTarget({ ...place, cluster }) : await openSqliteTarget(path, silentLog);
let told = "";
const move = new StoreMove({
  ...{ source, target, note: { to, by: "studio", at: Date.now() }, clock: systemClock, log: silentLog },
  onProgress: ({ phase, copied, of, behind }) => {
    const text = `${phase} ${Math.floor((100 * copied) / of)}`;
    if (text !== told) say("at", (told = text), behind);
  },
});
const beganAt = performance.now();
await move.copy();
const stoppedAt = performance.now();
full.abort();
await arrivals;
const { stopMs } = await move.finish(decide);
const leftAt = performance.now();
// For whoever compares: all of it lies where it is read from. It is no part of the stop.
await former.fold?.();
await source.close();
const closedMs = performance.now() - leftAt;
const store = await open();
const claim = await store.claim();
const loaded = await store.load();
await store.commit({ epoch: claim.epoch });
const endedAt = performance.now() - closedMs;
say("moved", Math.round(stoppedAt - beganAt), Math.round(stopMs), Math.round(endedAt - stoppedAt), loaded.lastKey, claim.epoch > epoch);
await store.close();
process.exit(0);
