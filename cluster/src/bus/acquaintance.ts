/**
 * What one party knows of the lives of another: the key that it shares with each, and what each has said already.
 *
 * A1. A life counts for as long as the key by which it has shown itself is the party's.
 * A2. What a life has said is known for as long as that life may come back; one that was dropped never does.
 */
import type { Life, OwnLife, SharedKey } from "../trust/life.ts";
import { ReplayWindow } from "./replay-window.ts";

export interface Acquaintance {
  readonly life: Life;
  readonly shared: SharedKey;
  /** The key by which it has shown itself. */
  publicKey: string;
  readonly window: ReplayWindow;
  /** It knows this life too. */
  knowsUs: boolean;
}

/** Whose words may still be under way. */
const LIVES_MAX = 8;
/** A daemon that starts anew each second for a quarter of an hour stays within it. */
const DROPPED_MAX = 1_024;

export class Party {
  readonly #own: OwnLife;
  readonly #lives = new Map<Life, Acquaintance>();
  readonly #dropped = new Set<Life>();
  #sent = 0;
  /** For whom the next words are. */
  current: Acquaintance | undefined;

  constructor(own: OwnLife) {
    this.#own = own;
  }

  nextNumber(): number {
    return ++this.#sent;
  }

  /** A1. undefined: it has to show itself first. */
  shown(life: Life, publicKey: string): Acquaintance | undefined {
    const known = this.#lives.get(life);
    return known?.publicKey === publicKey ? known : undefined;
  }

  /** It has shown itself by this key. undefined for a life that was dropped, or that is none. */
  meet(life: Life, publicKey: string): Acquaintance | undefined {
    const known = this.#lives.get(life);
    if (known !== undefined) return Object.assign(known, { publicKey, knowsUs: false });
    const shared = this.#dropped.has(life) ? undefined : this.#own.agree(life);
    if (shared === undefined) return undefined;
    this.current = { life, shared, publicKey, window: new ReplayWindow(), knowsUs: false };
    this.turnTo(this.current);
    return this.current;
  }

  /** It is the one that answers. */
  turnTo(its: Acquaintance): void {
    this.current = its;
    this.#lives.delete(its.life);
    this.#lives.set(its.life, its);
    const [oldest] = this.#lives.size <= LIVES_MAX ? [] : this.#lives.keys();
    if (oldest !== undefined) this.#drop(oldest);
  }

  #drop(life: Life): void {
    this.#lives.delete(life);
    this.#dropped.add(life);
    const [oldest] = this.#dropped.size <= DROPPED_MAX ? [] : this.#dropped;
    if (oldest !== undefined) this.#dropped.delete(oldest);
  }
}
