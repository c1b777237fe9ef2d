/** Leads, or stands by ready to, over a store that several control nodes share. */
import type { Coordinator } from "../coordinator/coordinator.ts";
import { openEtcdStore } from "../store/etcd.ts";
import type { Leader } from "../store/leadership.ts";
import { MovableStore } from "../store/movable-store.ts";
import { ownFirst } from "./bus-way.ts";
import { openControlKeeper } from "./control-keeper.ts";
import { LeadApart } from "./lead-apart.ts";
import { takeLead } from "./leading.ts";
import { openModelDesk, type OpenModelDesk } from "./model-desk.ts";
import type { Seat } from "./seat.ts";
import { openSharedGround, type Open, type SharedGround, type SharedParts } from "./shared-ground.ts";
import { SharedLead, type Elected, type Led } from "./shared-lead.ts";

export async function openSharedSeat(parts: SharedParts): Promise<Seat> {
  const open: Open = [() => parts.etcd.close()];
  try {
    return new SharedSeat(parts, await openSharedGround(parts, open), open);
  } catch (error) {
    await parts.stand.hide();
    await closeAll(open);
    throw error;
  }
}

class SharedSeat implements Seat {
  led: Seat["led"];
  private readonly parts: SharedParts;
  private readonly on: SharedGround;
  private readonly open: Open;
  private lead: SharedLead<MovableStore>;
  /** Of a term that was lost; it has the coordinator's bus until it has said it, or leads again. */
  private lastWord: { readonly said: Promise<void>; cut(): void } | undefined;
  /** It leads no more because its store is moved: that stays open. */
  private isLeaving = false;

  constructor(parts: SharedParts, on: SharedGround, open: Open) {
    [this.parts, this.on, this.open] = [parts, on, open];
    this.lead = this.begun();
  }

  enrolOwn(publicKey: string): ReturnType<Seat["enrolOwn"]> {
    return this.on.admission.enrol(publicKey);
  }

  onBusUrls(listener: (urls: readonly string[]) => void): ReturnType<Seat["onBusUrls"]> {
    const { way } = this.on;
    return way.onChange(() => way.forOwnNode(), listener);
  }

  controlUrls(): readonly string[] {
    return ownFirst(this.parts.stand.apiUrls, this.on.seen.places());
  }

  refusalToLeave(): string | undefined {
    const { nodeId } = this.parts.ground.config;
    const others = this.on.seats.all.map(({ node }) => node).filter((node) => node !== nodeId);
    return others.length === 0 ? undefined : `${others.join(" and ")} share this store: demote them first`;
  }

  async leave(): Promise<void> {
    this.isLeaving = true;
    await this.lead.close();
    await this.cutLastWord();
  }

  async again(): Promise<Seat> {
    await this.led?.store.close();
    this.led = undefined;
    this.isLeaving = false;
    this.lead = this.begun();
    return this;
  }

  async letGo(): Promise<void> {
    await closeAll(this.open);
    await this.led?.store.close();
  }

  async close(): Promise<void> {
    await this.lead.close();
    await this.cutLastWord();
    await this.parts.stand.hide();
    await closeAll(this.open);
  }

  private begun(): SharedLead<MovableStore> {
    const { ground, stand } = this.parts;
    const { clock, log } = ground;
    return new SharedLead<MovableStore>({
      ...{ clock, log, standby: this.on.standby },
      campaign: (signal) => this.campaign(signal),
      begin: (elected, broken) => this.begin(elected, broken),
      takeRole: (role) => stand.takeRole(role),
    });
  }

  private async campaign(signal: AbortSignal): Promise<Elected<MovableStore>> {
    const { shared, leadership } = this.on;
    const { ground, stand } = this.parts;
    const store = await openEtcdStore(shared);
    const term = await leadership.campaign({ node: ground.config.nodeId, urls: stand.apiUrls, heedsWords: true }, store, signal);
    return { store: new MovableStore(store), term };
  }

  private async begin({ term, store }: Elected<MovableStore>, broken: (error: unknown) => void): Promise<Led> {
    const { admission, gate, controlNodes } = this.on;
    const opened: Open = [async () => (this.isLeaving ? undefined : store.close())];
    let leads = true;
    let coordinator: Coordinator | undefined;
    let models: OpenModelDesk | undefined;
    await this.cutLastWord();
    const end = async (still: boolean): Promise<void> => {
      leads = still;
      models?.close();
      // Whoever waits here for an answer asks another control node that much sooner.
      if (!still) store.giveUp();
      // First, while this one can still ask again for what etcd drops meanwhile; after it the next leader's commits would be dropped.
      else await this.parts.etcd.yieldLead().catch(() => undefined);
      admission.left();
      if (coordinator === undefined || still) await closeAll(opened);
      else await this.sayLastWord(coordinator, term.sureUntil(), opened);
      if (!this.isLeaving) this.led = undefined;
      gate.resume();
    };
    gate.rest();
    try {
      const lent = () => models?.router.list();
      const over = { store, claim: term.claim, broken, leads: () => leads, models: lent };
      coordinator = await takeLead(this.parts.ground, { ...over, ...this.leadingParts(term.former) }, opened);
      admission.leads(coordinator, controlNodes);
      const apart = new LeadApart({ ...this.parts.ground, etcd: this.parts.etcd });
      opened.push(() => apart.stop());
      this.led = { store, claim: term.claim };
      const { clock } = this.parts.ground;
      models = openModelDesk(this.parts.ground, coordinator);
      return { role: { coordinator, ...(models !== undefined && { models }), holds: () => clock.monotonic() < term.sureUntil() }, end };
    } catch (error) {
      await end(false);
      throw error;
    }
  }

  /** Resolves when the coordinator does nothing any more but that. */
  private async sayLastWord(coordinator: Coordinator, sureUntil: number, opened: Open): Promise<void> {
    await coordinator.abandon();
    const cut = new AbortController();
    const { log } = this.parts.ground;
    const said = coordinator
      .lastWord(sureUntil, cut.signal)
      .then(() => closeAll(opened))
      .catch((error: unknown) => log.warn({ err: error }, "what a lost lead had open could not be closed"));
    this.lastWord = { said, cut: () => cut.abort() };
  }

  private async cutLastWord(): Promise<void> {
    this.lastWord?.cut();
    await this.lastWord?.said;
    this.lastWord = undefined;
  }

  private leadingParts(former: Leader | undefined) {
    const { ground, stand, mover, etcd } = this.parts;
    const { server, way, speaking: urls, seen, seats, controlNodes, words } = this.on;
    const { shown, backups, apiUrls } = stand;
    const keeper = { ground, etcd, seats, controlNodes, server, forget: (node: string) => seen.forget(node) };
    return {
      ...{ server, shown, backups, controlView: seen, storeMover: mover, words },
      apiUrls: () => apiUrls,
      controlUrls: () => ownFirst(apiUrls, seen.places()),
      busUrls: () => way.told(),
      bus: { urls, copies: () => way.copies(), onChange: (listener: (now: readonly string[]) => void) => way.onChange(urls, listener) },
      ...(seats.all.length > 1 && { former: former === undefined ? {} : { node: former.node } }),
      control: openControlKeeper({ ...keeper, handOver: () => this.lead.handOver() }),
    };
  }
}

async function closeAll(open: Open): Promise<void> {
  for (let close = open.pop(); close !== undefined; close = open.pop()) await close();
}
