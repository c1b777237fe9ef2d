/**
 * Who may be believed on the bus. nats-server lets a node write under its own subjects only, but it does not check where
 * answers go, and whoever owns the server owns what it vouches for; so every message and answer proves its sender
 * (trust/envelope.ts), and none is heard twice.
 *
 * V1. What is handed on comes from the party that its subject names, for this one, in this life of it, and was not handed on
 *     before. All else is refused, and listeners are told why.
 * V2. Lives show themselves by the signature of their party's key; from then on the two have a key of their own. A message for
 *     another life, or of one that has not shown itself, is answered by a challenge, which is signed, and its sender shows
 *     itself with the same words. So parties find each other after any restart, and what was recorded is worth nothing.
 * V3. What a life has said is known for as long as that life may come back (acquaintance.ts): a party can have two at a
 *     time, as where a coordinator was replaced and does not know it yet. What is said to the party is for the life that showed
 *     itself last. To a party whose key is another one, or gone, no life counts that has shown itself by the one before.
 * V4. Output and blobs are not sealed: they go into streams, under subjects that only their node may write to.
 */
import { openSeal, seal, type Line, type Matter, type Opened as Letter, type Stamp } from "../trust/envelope.ts";
import { beginLife, isMac, macOf, type Life, type OwnLife, type SharedKey } from "../trust/life.ts";
import { isSignedBy, signer, type Sign, type Verify } from "../trust/signature.ts";
import { Party } from "./acquaintance.ts";
import type { Refusal, RefusalListener } from "./bus.ts";
import type { Answer, Envelopes, Question, Read, Sealed } from "./envelope-door.ts";
import { COORDINATOR, nodeOf } from "./subjects.ts";

export interface SealParts {
  /** A node's id, or COORDINATOR. */
  readonly self: string;
  readonly life: OwnLife;
  readonly sign: Sign;
  readonly verify: Verify;
  /** The public key of a party; undefined for one that is not, or not any more, of the cluster. */
  keyOf(party: string): string | undefined;
}

const NOTHING = Buffer.alloc(0);

type Message = Extract<Line, { kind: "h" | "m" }>;

export function sealedEnvelopes(parts: SealParts): Envelopes {
  return new SealedEnvelopes(parts);
}

/** For one opening of a party's bus. `seed`: the party's own, `SU…`; asked for at each message where it may be exchanged meanwhile. */
export function openEnvelopes({
  self,
  seed,
  keyOf,
}: Pick<SealParts, "self" | "keyOf"> & { readonly seed: Uint8Array | (() => Uint8Array) }): Envelopes {
  const sign = typeof seed === "function" ? latest(seed) : signer(seed);
  return sealedEnvelopes({ self, life: beginLife(), sign, verify: isSignedBy, keyOf });
}

function latest(seed: () => Uint8Array): Sign {
  let last: { readonly seed: Uint8Array; readonly sign: Sign } | undefined;
  return (words) => {
    const now = seed();
    if (last?.seed !== now) last = { seed: now, sign: signer(now) };
    return last.sign(words);
  };
}

class SealedEnvelopes implements Envelopes {
  readonly #parts: SealParts;
  readonly #life: Life;
  /** Only of those that have a key. */
  readonly #parties = new Map<string, Party>();
  readonly #listeners = new Set<RefusalListener>();

  constructor(parts: SealParts) {
    this.#parts = parts;
    this.#life = parts.life.life;
  }

  knows(subject: string): boolean {
    return this.#parties.get(this.#partyOf(subject))?.current?.knowsUs === true;
  }

  seal(subject: string, body: Uint8Array): Sealed {
    const { self, sign } = this.#parts;
    const to = this.#partyOf(subject);
    const party = this.#party(to);
    const { current } = party;
    const stamp = { life: this.#life, number: party.nextNumber() };
    const matter = { from: self, to, about: subject };
    const bytes =
      current?.knowsUs === true
        ? seal({ kind: "m", ...stamp, toLife: current.life }, matter, body, (words) => macOf(current.shared, words))
        : seal({ kind: "h", ...stamp, toLife: current?.life }, matter, body, sign);
    return { bytes, question: { peer: to, stamp, toLife: current?.life, shared: current?.shared } };
  }

  read(subject: string, bytes: Uint8Array): Read {
    const from = this.#partyOf(subject);
    const letter = openSeal(bytes);
    const line = letter?.line;
    if (letter === undefined || (line?.kind !== "h" && line?.kind !== "m")) return this.#refuse(from, "unsealed");
    const publicKey = this.#parts.keyOf(from);
    if (publicKey === undefined) return this.#refuse(from, "stranger");
    const party = this.#party(from);
    const shown = party.shown(line.life, publicKey);
    // No fault of anybody's: so it is after every restart.
    if (line.toLife !== this.#life || (line.kind === "m" && shown === undefined))
      return { kind: "refused", why: "other-life", challenge: this.#challenge(from, line) };
    const matter = { from, to: this.#parts.self, about: subject };
    const isProven =
      line.kind === "m" && shown !== undefined ? isVouched(letter, matter, shown.shared) : this.#isSigned(letter, matter, publicKey);
    if (!isProven) return this.#refuse(from, "forged");
    const its = shown ?? party.meet(line.life, publicKey);
    if (its === undefined || !its.window.take(line.number)) return this.#refuse(from, "replayed");
    its.knowsUs = true;
    return { kind: "message", body: letter.body, answer: this.#answerTo(from, line, its.shared) };
  }

  readAnswer({ peer: from, stamp, toLife, shared }: Question, bytes: Uint8Array): Answer {
    const letter = openSeal(bytes);
    if (letter?.line.kind !== "a" && letter?.line.kind !== "c") return this.#refuse(from, "unsealed");
    const publicKey = this.#parts.keyOf(from);
    if (publicKey === undefined) return this.#refuse(from, "stranger");
    const { line, body } = letter;
    const matter = { from, to: this.#parts.self, about: stamp };
    const party = this.#party(from);
    if (line.kind === "a") {
      if (shared === undefined || line.life !== toLife || !isVouched(letter, matter, shared)) return this.#refuse(from, "forged");
      const shown = party.shown(line.life, publicKey);
      if (shown !== undefined) shown.knowsUs = true;
      return { kind: "answer", body };
    }
    if (!this.#isSigned(letter, matter, publicKey)) return this.#refuse(from, "forged");
    // It was signed over a number that was never used before, so it is no old one, whichever life it names.
    const its = party.shown(line.life, publicKey) ?? party.meet(line.life, publicKey);
    if (its === undefined) return this.#refuse(from, "replayed");
    its.knowsUs = false;
    party.turnTo(its);
    return { kind: "again" };
  }

  onRefusal(listener: RefusalListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #refuse(party: string, why: Refusal): { kind: "refused"; why: Refusal } {
    for (const listener of this.#listeners) listener(party, why);
    return { kind: "refused", why };
  }

  #isSigned(letter: Letter, matter: Matter, publicKey: string): boolean {
    return letter.isProven(matter, (words, signature) => this.#parts.verify(publicKey, words, signature));
  }

  #challenge(to: string, about: Stamp): Uint8Array {
    const { self, sign } = this.#parts;
    return seal({ kind: "c", life: this.#life }, { from: self, to, about: stampOf(about) }, NOTHING, sign);
  }

  #answerTo(to: string, about: Message, shared: SharedKey): (body: Uint8Array) => Uint8Array {
    const matter = { from: this.#parts.self, to, about: stampOf(about) };
    return (body) => seal({ kind: "a", life: this.#life }, matter, body, (words) => macOf(shared, words));
  }

  #party(name: string): Party {
    const party = this.#parties.get(name) ?? new Party(this.#parts.life);
    this.#parties.set(name, party);
    return party;
  }

  #partyOf(subject: string): string {
    return this.#parts.self === COORDINATOR ? nodeOf(subject) : COORDINATOR;
  }
}

function isVouched(letter: Letter, matter: Matter, shared: SharedKey): boolean {
  return letter.isProven(matter, (words, mac) => isMac(shared, words, mac));
}

const stampOf = ({ life, number }: Stamp): Stamp => ({ life, number });
