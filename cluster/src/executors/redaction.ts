/**
 * Takes known secrets out of what a program prints, as they are and as programs write them (base64 at any alignment, in an address, in
 * JSON, in hexadecimal), also where a secret comes in two pieces. This is against slips: whoever may say what the program
 * does can have it write a secret in some other way.
 *
 * Z1. What could be the beginning of a secret is held back until what follows shows that it is none, and no longer than that.
 * Z2. What comes out does not depend on how the text was cut into pieces.
 */

const HIDDEN = "…";
/** Of a secret's end at the front of a text whose beginning was cut off. Fewer characters tell nothing. */
const END_CHARS_MIN = 3;

class Needle {
  readonly text: string;
  /** For each length of what fits so far: how much still fits when the next character does not. */
  readonly #back: readonly number[];

  constructor(text: string) {
    this.text = text;
    const back = [0];
    for (let length = 0, at = 1; at < text.length; at += 1) {
      while (length > 0 && text[at] !== text[length]) length = back[length - 1] as number;
      if (text[at] === text[length]) length += 1;
      back.push(length);
    }
    this.#back = back;
  }

  /** How many characters at the end of `text` are the needle's first ones; fewer than all of them. */
  beginsAtEndOf(text: string): number {
    const needle = this.text;
    let length = 0;
    for (let at = Math.max(0, text.length - needle.length + 1); at < text.length; at += 1) {
      while (length > 0 && text[at] !== needle[length]) length = this.#back[length - 1] as number;
      if (text[at] === needle[length]) length += 1;
    }
    return length;
  }

  /** How many characters at the front of `text` are the needle's last ones; fewer than all of them. */
  endsAtFrontOf(text: string): number {
    for (let length = Math.min(this.text.length - 1, text.length); length >= END_CHARS_MIN; length -= 1)
      if (this.text.endsWith(text.slice(0, length))) return length;
    return 0;
  }
}

export class Redaction {
  readonly #needles: readonly Needle[];

  constructor(secrets: Iterable<string>) {
    const texts = new Set([...secrets].flatMap(formsOf));
    // The longest first: one secret may be the beginning of another.
    this.#needles = [...texts].toSorted((a, b) => b.length - a.length).map((text) => new Needle(text));
  }

  /** Of a stream that comes in pieces. */
  stream(): { write(text: string): string; end(): string } {
    let held = "";
    return {
      write: (text) => {
        const { clean, rest } = this.#scan(held + text, (from) => this.#beginsAtEndOf(from));
        held = rest;
        return clean;
      },
      end: () => {
        const rest = held;
        held = "";
        return this.clean(rest);
      },
    };
  }

  /** Of a text that is whole. */
  clean(text: string): string {
    return this.#scan(text, () => 0).clean;
  }

  /** Of a text that may have been cut at its front, as the last of an output is. */
  tail(text: string): string {
    const cut = Math.max(0, ...this.#needles.map((needle) => needle.endsAtFrontOf(text)));
    return this.clean(cut > 0 ? HIDDEN + text.slice(cut) : text);
  }

  /** Every text within a JSON value; what is called a tail is one. */
  within<T>(value: T, name = ""): T {
    if (typeof value === "string") return (name.endsWith("Tail") ? this.tail(value) : this.clean(value)) as T;
    if (Array.isArray(value)) return value.map((item: unknown) => this.within(item)) as T;
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, this.within(one as unknown, key)])) as T;
  }

  /** From the front to the end, secret by secret, as far as nothing can be a part of one that is not whole yet; `pending` says how much can. */
  #scan(text: string, pending: (rest: string) => number): { clean: string; rest: string } {
    const firstFrom = this.#finder(text);
    let sure = text.length - pending(text);
    let clean = "";
    for (let at = 0; ;) {
      const next = firstFrom(at);
      if (next === undefined || next.at >= sure) return { clean: clean + text.slice(at, sure), rest: text.slice(sure) };
      clean += text.slice(at, next.at) + HIDDEN;
      at = next.end;
      if (at > sure) sure = text.length - pending(text.slice(at));
    }
  }

  /** Where the first secret from there on is. Each is looked for once over the text, however often the others are there. */
  #finder(text: string): (from: number) => { at: number; end: number } | undefined {
    const places = this.#needles.map((needle) => ({ needle: needle.text, at: -1 }));
    return (from) => {
      let first: { at: number; end: number } | undefined;
      for (const place of places) {
        if (place.at < from) place.at = indexFrom(text, place.needle, from);
        if (place.at < (first?.at ?? Infinity)) first = { at: place.at, end: place.at + place.needle.length };
      }
      return first;
    };
  }

  #beginsAtEndOf(text: string): number {
    return Math.max(0, ...this.#needles.map((needle) => needle.beginsAtEndOf(text)));
  }
}

function indexFrom(text: string, needle: string, from: number): number {
  const at = text.indexOf(needle, from);
  return at === -1 ? Infinity : at;
}

function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const inJson = JSON.stringify(secret).slice(1, -1);
  const forms = [secret, inJson, encodeURIComponent(secret.toWellFormed()), new URLSearchParams([["", secret]]).toString().slice(1)];
  const aligned = (["base64", "base64url"] as const).flatMap((alphabet) => [0, 1, 2].map((before) => within(alphabet, bytes, before)));
  return [...forms, ...aligned, bytes.toString("hex"), bytes.toString("hex").toUpperCase()].filter((form) => form.length > 0);
}

/** The characters that the bytes give by themselves, whatever stands before them and after. */
function within(alphabet: "base64" | "base64url", bytes: Buffer, before: number): string {
  const whole = Buffer.concat([Buffer.alloc(before), bytes]).toString(alphabet);
  return whole.slice(Math.ceil((before * 8) / 6), Math.floor(((before + bytes.length) * 8) / 6));
}
