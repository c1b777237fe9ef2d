/**
 * The open connections of each user of the bus, on all servers of a cluster, from events and now and then a census (nats-census.ts).
 *
 * O1. A census counts for what was known when it was asked for: what has begun or ended since then, an event has told.
 * O2. What hung on a server that does not answer two times in a row has ended with it.
 */
export interface Seen {
  readonly user: string;
  readonly connection: number;
}

/** By server. Who does not answer in time is not in it. */
export type Census = ReadonlyMap<string, readonly Seen[]>;

const SILENT_MAX = 2;

export class OpenConnections {
  /** Server and number of each, by user. */
  readonly #byUser = new Map<string, Map<string, string>>();
  /** How often in a row each server has not answered. */
  readonly #silent = new Map<string, number>();
  /** Since the last census was asked for. */
  readonly #begun = new Set<string>();
  readonly #ended = new Set<string>();

  has(user: string): boolean {
    return this.#byUser.has(user);
  }

  begin(user: string, server: string, connection: number): void {
    const key = keyOf(server, connection);
    this.#begun.add(key);
    if (!this.#silent.has(server)) this.#silent.set(server, 0);
    this.#add(user, server, key);
  }

  end(user: string, server: string, connection: number): void {
    const key = keyOf(server, connection);
    this.#ended.add(key);
    this.#remove(user, key);
  }

  /** All, or those of one server. */
  forget(server?: string): void {
    if (server === undefined) this.#silent.clear();
    else this.#silent.delete(server);
    for (const [user, open] of this.#byUser)
      for (const [key, its] of open) if (server === undefined || its === server) this.#remove(user, key);
  }

  /** Those that answered last time, or may answer yet. */
  servers(): ReadonlySet<string> {
    return new Set(this.#silent.keys());
  }

  censusAsked(): void {
    this.#begun.clear();
    this.#ended.clear();
  }

  mend(census: Census): void {
    for (const [server, seen] of census) {
      this.#silent.set(server, 0);
      const there = new Set(seen.map(({ connection }) => keyOf(server, connection)));
      for (const [user, open] of this.#byUser)
        for (const [key, its] of open) if (its === server && !there.has(key) && !this.#begun.has(key)) this.#remove(user, key);
      for (const { user, connection } of seen) {
        const key = keyOf(server, connection);
        if (!this.#ended.has(key)) this.#add(user, server, key);
      }
    }
    for (const [server, times] of this.#silent) {
      if (census.has(server)) continue;
      this.#silent.set(server, times + 1);
      if (times + 1 >= SILENT_MAX) this.forget(server);
    }
  }

  /** Has one that this census vouches for, or that has begun since it was asked for. */
  isVouchedFor(user: string, census: Census): boolean {
    const open = this.#byUser.get(user) ?? new Map<string, string>();
    return open.entries().some(([key, server]) => census.has(server) || this.#begun.has(key));
  }

  #add(user: string, server: string, key: string): void {
    this.#byUser.set(user, (this.#byUser.get(user) ?? new Map<string, string>()).set(key, server));
  }

  #remove(user: string, key: string): void {
    const open = this.#byUser.get(user);
    open?.delete(key);
    if (open?.size === 0) this.#byUser.delete(user);
  }
}

const keyOf = (server: string, connection: number): string => `${server}/${connection}`;
