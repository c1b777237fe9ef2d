/** Leads alone, over a database of this machine's own. */
import type { StoreMover } from "../coordinator/lead-parts.ts";
import { MovableStore } from "../store/movable-store.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Claim } from "../store/store.ts";
import type { ControlStand } from "./control-stand.ts";
import type { Ground } from "./ground.ts";
import { takeLead } from "./leading.ts";
import { openModelDesk, type OpenModelDesk } from "./model-desk.ts";
import type { Seat } from "./seat.ts";

export interface LoneParts {
  readonly ground: Ground;
  readonly stand: ControlStand;
  readonly mover: StoreMover;
  /** Of an earlier seat, whose store could not be moved. */
  readonly store?: MovableStore;
}

export async function openLoneSeat({ ground, stand, mover, store: kept }: LoneParts): Promise<Seat> {
  const { config, folders, log } = ground;
  const { shown, backups, apiUrls } = stand;
  const store = kept ?? new MovableStore(await openSqliteStore({ path: folders.database, backups, log }));
  const leading: (() => Promise<void>)[] = [];
  const leave = async (): Promise<void> => {
    for (let close = leading.pop(); close !== undefined; close = leading.pop()) await close();
  };
  try {
    const server = await stand.serve();
    const urls = { busUrls: () => stand.busUrls, apiUrls: () => apiUrls, controlUrls: () => apiUrls };
    const claim: Claim = await store.claim();
    const parts = { store, claim, server, shown, backups, storeMover: mover, broken: (error: unknown) => ground.fail(error) };
    let models: OpenModelDesk | undefined;
    const lent = () => models?.router.list();
    const coordinator = await takeLead(ground, { ...parts, ...urls, models: lent }, leading);
    models = openModelDesk(ground, coordinator);
    leading.push(async () => models?.close());
    await stand.show({ coordinator, ...(models !== undefined && { models }) });
    return {
      enrolOwn: (publicKey) => coordinator.enrol({ id: config.nodeId, publicKey }),
      onBusUrls(listener) {
        listener(stand.busUrls);
        return { stop: () => undefined };
      },
      controlUrls: () => apiUrls,
      led: { store, claim },
      refusalToLeave: () => undefined,
      leave,
      again: () => openLoneSeat({ ground, stand, mover, store }),
      letGo: () => store.close(),
      async close() {
        await stand.hide();
        await leave();
        await store.close();
      },
    };
  } catch (error) {
    await leave();
    await store.close();
    throw error;
  }
}
