/**
 * Who may be believed on the bus. nats-server lets a node write under its own subjects only, but it does not check where
 * answers go, and whoever owns the server owns what it vouches for; so every message and answer carries its sender's own
 * signature (trust/envelope.ts), and none is heard twice.
 *
 * V1. What is handed on was signed by the party that its subject names, for this one, in this life of it, and was not handed
 *     on before. All else is refused, and `refused` is told why.
 * V2. A message for another life of this party, else good, is answered by a challenge: it names the life that there is, and the
 *     sender says it again. So parties find each other after any restart, and what was recorded is worth nothing.
 * V3. A party has one life at a time: the first good word of another one ends the one before, for ever (FORMER_MAX).
 * V4. Output and blobs are not sealed: they go into streams, under subjects that only their node may write to.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { newLife, openSeal, seal, type Life, type Opened as Letter, type Stamp } from "../trust/envelope.ts";
import { isSignedBy, signer, type Sign, type Verify } from "../trust/signature.ts";
import { ReplayWindow } from "./replay-window.ts";
import { COORDINATOR, nodeOf } from "./subjects.ts";

export type Refusal = "unsealed" | "stranger" | "forged" | "other-life" | "replayed";

/** A message that was sent, until its answer comes. */
export interface Question {
  readonly peer: string;
  readonly stamp: Stamp;
}

export interface Sealed {
  readonly bytes: Uint8Array;
  readonly question: Question;
}

export type Read =
  | { readonly kind: "message"; readonly body: Uint8Array; answer(body: Uint8Array): Uint8Array }
  /** `challenge`: to be sent in the answer's place (V2). */
  | { readonly kind: "refused"; readonly why: Refusal; readonly challenge?: Uint8Array };

export type Answer =
  | { readonly kind: "answer"; readonly body: Uint8Array }
  /** Seal it again, and send that. */
  | { readonly kind: "again" }
  | { readonly kind: "refused"; readonly why: Refusal };

export type RefusalListener = (party: string, why: Refusal) => void;

export interface Envelopes {
  /** Is the life known that a message of this subject has to be for? */
  knows(subject: string): boolean;
  seal(subject: string, body: Uint8Array): Sealed;
  read(subject: string, bytes: Uint8Array): Read;
  readAnswer(question: Question, bytes: Uint8Array): Answer;
  /** Returns how to stop. */
  onRefusal(listener: RefusalListener): () => void;
}

export interface SealParts {
  /** A node's id, or COORDINATOR. */
  readonly self: string;
  readonly life: Life;
  readonly sign: Sign;
  readonly verify: Verify;
  /** The public key of a party; undefined for one that is not, or not any more, of the cluster. */
  keyOf(party: string): string | undefined;
}

/** A daemon that starts anew each second for a quarter of an hour stays within it. */
const FORMER_MAX = 1_024;

const NOTHING = Buffer.alloc(0);

/** What is known of the party at the other end. */
interface Peer {
  life: Life | undefined;
  window: ReplayWindow;
  readonly former: Set<Life>;
  sent: number;
}

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
  return sealedEnvelopes({ self, life: newLife(), sign, verify: isSignedBy, keyOf });
}

function latest(seed: () => Uint8Array): Sign {
  let last: { readonly seed: Uint8Array; readonly sign: Sign } | undefined;
  return (words) => {
    const now = seed();
    if (last?.seed !== now) last = { seed: now, sign: signer(now) };
    return last.sign(words);
  };
}

/** How often a party may turn out to live another life, while one and the same thing is said to it. */
const AGAIN_MAX = 3;

/** Says it until the party answers that it is meant for. Throws what `send` throws, and bus_unreachable when nobody who may answer does. */
export async function ask(
  envelopes: Envelopes,
  subject: string,
  body: Uint8Array,
  send: (bytes: Uint8Array) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  for (let times = 0; times < AGAIN_MAX; times += 1) {
    const { bytes, question } = envelopes.seal(subject, body);
    const answer = envelopes.readAnswer(question, await send(bytes));
    if (answer.kind === "answer") return answer.body;
    if (answer.kind === "refused")
      throw new ClusterError("bus_unreachable", `${subject}: the answer is not from whom was asked (${answer.why})`);
  }
  throw new ClusterError("bus_unreachable", `${subject}: who was asked began another life each time`);
}

/** For the bus in memory: nobody is there who could lie. */
export function plainEnvelopes(): Envelopes {
  return {
    knows: () => true,
    seal: (_subject, bytes) => ({ bytes, question: { peer: "", stamp: { life: "", number: 0 } } }),
    read: (_subject, body) => ({ kind: "message", body, answer: (answer) => answer }),
    readAnswer: (_question, body) => ({ kind: "answer", body }),
    onRefusal: () => () => undefined,
  };
}

class SealedEnvelopes implements Envelopes {
  readonly #parts: SealParts;
  readonly #peers = new Map<string, Peer>();
  readonly #listeners = new Set<RefusalListener>();

  constructor(parts: SealParts) {
    this.#parts = parts;
  }

  knows(subject: string): boolean {
    return this.#peers.get(this.#partyOf(subject))?.life !== undefined;
  }

  seal(subject: string, body: Uint8Array): Sealed {
    const { self, life, sign } = this.#parts;
    const party = this.#partyOf(subject);
    const peer = this.#peer(party);
    const number = ++peer.sent;
    const bytes = seal({ kind: "m", life, number, toLife: peer.life }, { from: self, to: party, about: subject }, body, sign);
    return { bytes, question: { peer: party, stamp: { life, number } } };
  }

  read(subject: string, bytes: Uint8Array): Read {
    const from = this.#partyOf(subject);
    const letter = openSeal(bytes);
    if (letter?.line.kind !== "m") return this.#refuse(from, "unsealed");
    const { line, body } = letter;
    const why = this.#doubtOf(letter, from, subject);
    if (why !== undefined) return this.#refuse(from, why);
    // No fault of anybody's: so it is after every restart.
    if (line.toLife !== this.#parts.life) return { kind: "refused", why: "other-life", challenge: this.#reply("c", from, line, NOTHING) };
    if (!this.#enter(from, line.life) || !this.#peer(from).window.take(line.number)) return this.#refuse(from, "replayed");
    return { kind: "message", body, answer: (answer) => this.#reply("a", from, line, answer) };
  }

  readAnswer({ peer, stamp }: Question, bytes: Uint8Array): Answer {
    const letter = openSeal(bytes);
    if (letter === undefined || letter.line.kind === "m") return this.#refuse(peer, "unsealed");
    const why = this.#doubtOf(letter, peer, stamp);
    if (why !== undefined) return this.#refuse(peer, why);
    if (letter.line.kind === "a") return { kind: "answer", body: letter.body };
    return this.#enter(peer, letter.line.life) ? { kind: "again" } : this.#refuse(peer, "replayed");
  }

  onRefusal(listener: RefusalListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #refuse(party: string, why: Refusal): { kind: "refused"; why: Refusal } {
    for (const listener of this.#listeners) listener(party, why);
    return { kind: "refused", why };
  }

  #doubtOf(letter: Letter, from: string, about: string | Stamp): Refusal | undefined {
    const key = this.#parts.keyOf(from);
    if (key === undefined) return "stranger";
    return letter.isSigned(key, { from, to: this.#parts.self, about }, this.#parts.verify) ? undefined : "forged";
  }

  #reply(kind: "a" | "c", to: string, about: Stamp, body: Uint8Array): Uint8Array {
    const { self, life, sign } = this.#parts;
    return seal({ kind, life }, { from: self, to, about: { life: about.life, number: about.number } }, body, sign);
  }

  /** V3. False for a life that is over. */
  #enter(party: string, life: Life): boolean {
    const peer = this.#peer(party);
    if (peer.life === life) return true;
    if (peer.former.has(life)) return false;
    if (peer.life !== undefined) peer.former.add(peer.life);
    const [oldest] = peer.former.size <= FORMER_MAX ? [] : peer.former;
    if (oldest !== undefined) peer.former.delete(oldest);
    [peer.life, peer.window] = [life, new ReplayWindow()];
    return true;
  }

  #peer(party: string): Peer {
    const known = this.#peers.get(party);
    if (known !== undefined) return known;
    const peer: Peer = { life: undefined, window: new ReplayWindow(), former: new Set(), sent: 0 };
    this.#peers.set(party, peer);
    return peer;
  }

  #partyOf(subject: string): string {
    return this.#parts.self === COORDINATOR ? nodeOf(subject) : COORDINATOR;
  }
}
