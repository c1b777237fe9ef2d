/** What a start makes of a move that was cut off, and of settings that somebody has changed by hand. */
import { existsSync, readdirSync } from "node:fs";
import { dirname } from "node:path";
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startTestEtcd, type TestEtcd } from "../../../tests/support/etcd.ts";
import { Died } from "./etcd.fixtures.ts";
import { MovableStore } from "./movable-store.ts";
import { openPresent } from "./sqlite-present.ts";
import { openSqliteStore } from "./sqlite.ts";
import { queued } from "./store.fixtures.ts";
import { Ground, type Kind } from "./store-move.fixtures.ts";

let etcd: TestEtcd;
beforeAll(async () => {
  etcd = await startTestEtcd();
});
afterAll(() => etcd.stop());

let ground: Ground;
beforeEach(() => (ground = new Ground(etcd, "sqlite")));
afterEach(() => ground.end());

const die = (): Promise<never> => Promise.reject(new Died());

/** From where its settings say, to the other kind, with one task more than there was. */
async function moved(decide: () => Promise<void> = ground.decide): Promise<{ cluster: ClusterId; epoch: number }> {
  const store = new MovableStore(await ground.open());
  const { cluster, epoch } = await store.claim();
  await store.commit({ epoch, created: [queued((await store.load()).lastKey + 1)] });
  const move = ground.move(store, await ground.target(cluster));
  await move.copy();
  await move.finish(decide).catch((error: unknown) => expect(error).toBeInstanceOf(Died));
  await ground.die();
  return { cluster, epoch };
}

async function liveUnder(kind: Kind): Promise<number[]> {
  ground.kind = kind;
  const store = await ground.open();
  await store.claim();
  const { live } = await store.load();
  await ground.die();
  return live.map(({ key }) => key);
}

describe("a store that was moved to etcd", () => {
  it("is not opened as a database by an old setting, and tells what to do", async () => {
    const { cluster } = await moved();
    const told = { code: "config_invalid", detail: expect.stringContaining("store migrate --to sqlite") as string };
    await expect(openSqliteStore({ path: ground.path })).rejects.toMatchObject(told);
    expect(await liveUnder("etcd")).toStrictEqual([1]);
    // A restore goes by what it knows, but not as if nothing had come after it.
    const present = openPresent(ground.path);
    expect(present).toMatchObject({ cluster, lastKey: 1, isWhole: false });
    present?.close();
  });

  it("and back has its old database set aside, with the date, and may be moved to the same etcd again", async () => {
    await moved();
    await moved();
    expect(ground.kind).toBe("sqlite");
    expect(await liveUnder("sqlite")).toStrictEqual([1, 2]);
    expect(readdirSync(dirname(ground.path)).filter((name) => /^cluster\.db\.moved-\d{4}-/.test(name))).toHaveLength(1);
    await moved();
    expect(await liveUnder("etcd")).toStrictEqual([1, 2, 3]);
  });
});

describe("a move to etcd that dies before it is decided", () => {
  it("leaves a copy that is no store, whatever the settings are changed to later", async () => {
    await moved(die);
    expect(await liveUnder("sqlite")).toStrictEqual([1]);
    await expect(liveUnder("etcd")).rejects.toMatchObject({ code: "store_unreadable" });
    await ground.die();
    expect(await liveUnder("sqlite")).toStrictEqual([1]);
  });

  it("is decided where the settings were changed before the next start", async () => {
    await moved(die);
    expect(await liveUnder("etcd")).toStrictEqual([1]);
    await expect(liveUnder("sqlite")).rejects.toMatchObject({ code: "config_invalid" });
  });

  it("is made anew over what it has left; over another cluster's store it is not", async () => {
    await moved(die);
    await moved(die);
    await moved();
    expect(await liveUnder("etcd")).toStrictEqual([1, 2, 3]);
    ground.kind = "sqlite";
    await expect(ground.target("stranger" as ClusterId)).rejects.toMatchObject({ code: "state_conflict" });
    // Nor where that one was moved away, as far as its own cluster knows.
    ground.kind = "etcd";
    await moved(die);
    ground.kind = "sqlite";
    await expect(ground.target("stranger" as ClusterId)).rejects.toMatchObject({ code: "state_conflict" });
    expect(await liveUnder("etcd")).toStrictEqual([1, 2, 3, 4]);
  });
});

describe("a move to SQLite", () => {
  beforeEach(() => (ground.kind = "etcd"));

  it("shuts the store in etcd for everybody, and for good", async () => {
    await moved();
    expect(await liveUnder("sqlite")).toStrictEqual([1]);
    await expect(liveUnder("etcd")).rejects.toMatchObject({ code: "config_invalid" });
    await ground.die();
    const other = await ground.open({ by: "nas" });
    await expect(other.claim()).rejects.toMatchObject({ code: "config_invalid" });
  });

  it("that dies before it is decided comes back where it was begun, and only there; its copy is gone", async () => {
    await moved(die);
    const other = await ground.open({ by: "nas" });
    await expect(other.claim()).rejects.toMatchObject({ code: "config_invalid" });
    await ground.die();
    await moved(die);
    expect(await liveUnder("etcd")).toStrictEqual([1, 2]);
    expect(readdirSync(dirname(ground.path))).toStrictEqual([]);
  });

  it("that dies when it is decided has its place at the next start", async () => {
    await moved(async () => {
      await ground.decide();
      throw new Died();
    });
    expect(existsSync(ground.path)).toBe(false);
    expect(await liveUnder("sqlite")).toStrictEqual([1]);
  });
});
