/**
 * The leadership door's contract (L1–L3 of leadership.ts) as one suite, run against a real etcd and against the one in memory that
 * the simulation leans on: one leads at a time, it is handed over at once, taken from who hangs, and never two under one epoch.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../system/clock.ts";
import { silentLog } from "../system/log.ts";
import { EtcdFault, type EtcdClient } from "./etcd-client.ts";
import { openEtcdLeadership } from "./etcd-leadership.ts";
import { openEtcdStore, type EtcdStore } from "./etcd.ts";
import { TERM_S, type Leadership, type Term } from "./leadership.ts";
import { StoreFenced } from "./store.ts";

/** A loaded machine has others to serve too. */
const SLACK_MS = 4_000;
const SOON = { timeout: 10_000, interval: 20 };

interface Candidate {
  readonly name: string;
  readonly store: EtcdStore;
  readonly leadership: Leadership<EtcdStore>;
  readonly term: Promise<Term>;
  /** Its process stands still, as far as etcd can tell. */
  hang(): void;
  /** No quorum hears it any more, or does again. */
  cut(isCut: boolean): void;
}

interface Place {
  readonly client: EtcdClient;
  readonly prefix: string;
}

/** `place` gives a new one for each test. */
export function describeLeadership(name: string, place: () => Place): void {
  describe(`${name} keeps the leadership's contract`, () => {
    let candidates: Candidate[] = [];
    let now: Place;
    const leave = { signal: new AbortController().signal };

    beforeEach(() => {
      now = place();
      candidates = [];
    });
    afterEach(async () => {
      for (const { leadership, store } of candidates) await Promise.all([leadership.close(), store.close().catch(() => undefined)]);
    });

    const stand = async (its: string, signal: AbortSignal = leave.signal): Promise<Candidate> => {
      const candidate = await candidateAt(now, its, signal);
      candidates.push(candidate);
      return candidate;
    };

    it("one of three leads, the others know it, and what is resigned is another's within a moment", async () => {
      const all = [await stand("a"), await stand("b"), await stand("c")];
      const leader = await first(all);
      const rest = all.filter((one) => one !== leader);
      for (const { leadership } of all) await vi.waitFor(() => expect(leadership.leader?.node).toBe(leader.name), SOON);
      expect(rest[0]?.leadership.leader).toEqual({ node: leader.name, urls: [`http://${leader.name}:8888`] });
      const term = await leader.term;
      const at = performance.now();
      await term.resign();
      const next = await first(rest);
      expect(performance.now() - at).toBeLessThan(1_000 + SLACK_MS);
      expect((await next.term).claim.epoch).toBe(term.claim.epoch + 1);
      expect((await next.term).former?.node).toBe(leader.name);
      await (await next.term).resign();
    });

    it("who hangs notices by its own clock before the next one leads, and what it commits is refused", { timeout: 30_000 }, async () => {
      const [a, b] = [await stand("a"), await stand("b")];
      const old = await first([a, b]);
      const other = old === a ? b : a;
      const term = await old.term;
      let overAt = Infinity;
      term.over.addEventListener("abort", () => (overAt = performance.now()));
      const hangsAt = performance.now();
      old.hang();
      const next = await other.term;
      const leadsAt = performance.now();
      expect(overAt).toBeLessThan(leadsAt);
      expect(term.sureUntil()).toBeLessThan(leadsAt);
      expect(leadsAt - hangsAt).toBeLessThan(2 * TERM_S * 1_000 + SLACK_MS);
      await expect(old.store.commit({ epoch: term.claim.epoch })).rejects.toThrow(StoreFenced);
      await other.store.commit({ epoch: next.claim.epoch });
      await next.resign();
    });

    it("ten that come at once, each resigning as soon as it leads: every one has an epoch of its own", { timeout: 60_000 }, async () => {
      const all = await Promise.all(Array.from({ length: 10 }, (_, n) => stand(`n${n}`)));
      const epochs = await Promise.all(
        all.map(async ({ term }) => {
          const { claim, resign } = await term;
          await resign();
          return claim.epoch;
        }),
      );
      expect(new Set(epochs).size).toBe(10);
    });

    it(
      "whom no quorum has confirmed for longer than a term nobody calls the leader, until it is confirmed again",
      { timeout: 30_000 },
      async () => {
        const all = [await stand("a"), await stand("b")];
        const leader = await first(all);
        const [other] = all.filter((one) => one !== leader) as [Candidate];
        await vi.waitFor(() => expect(other.leadership.leader?.node).toBe(leader.name), SOON);
        const heard: (string | undefined)[] = [];
        other.leadership.onLeader((now) => heard.push(now?.node));
        other.cut(true);
        await vi.waitFor(() => expect(other.leadership.leader).toBeUndefined(), { ...SOON, timeout: 2 * TERM_S * 1_000 + SLACK_MS });
        other.cut(false);
        await vi.waitFor(() => expect(other.leadership.leader?.node).toBe(leader.name), SOON);
        expect(heard).toEqual([undefined, leader.name]);
        await (await leader.term).resign();
        expect((await other.term).former?.node).toBe(leader.name);
        await (await other.term).resign();
      },
    );

    it("one that gives up stands back", async () => {
      const leader = await stand("a");
      await leader.term;
      const leaving = new AbortController();
      const other = await stand("b", leaving.signal);
      leaving.abort(new Error("enough"));
      await expect(other.term).rejects.toThrow("enough");
      await (await leader.term).resign();
    });
  });
}

async function candidateAt({ client: real, prefix }: Place, name: string, signal: AbortSignal): Promise<Candidate> {
  let hangs = false;
  let isCut = false;
  const unlessCut = <T>(call: () => Promise<T>): Promise<T> =>
    isCut ? Promise.reject(new EtcdFault("undecided", "cut off by the test", { mayHaveHappened: true })) : call();
  const client: EtcdClient = {
    ...real,
    renew: (lease, options) => (hangs ? new Promise(() => undefined) : real.renew(lease, options)),
    range: (range, options) => unlessCut(() => real.range(range, options)),
    transact: (transaction, options) => unlessCut(() => real.transact(transaction, options)),
  };
  const parts = { client, prefix, clock: systemClock, log: silentLog };
  const leadership = openEtcdLeadership(parts);
  const store = await openEtcdStore(parts);
  const term = leadership.campaign({ node: name, urls: [`http://${name}:8888`] }, store, signal);
  term.catch(() => undefined);
  return { name, store, leadership, term, hang: () => void (hangs = true), cut: (now) => void (isCut = now) };
}

function first(of: readonly Candidate[]): Promise<Candidate> {
  return Promise.race(of.map(async (one) => (await one.term, one)));
}
