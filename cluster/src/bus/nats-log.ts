/**
 * What nats-server refused, read from its own log: it sends no event for it. A node that reached for another's subject is
 * named there by its key, and so is whoever came with a key that nobody has.
 *
 * G1. Only the end of a line says who did what, from the user on: before that stand words that the other side chose. They are
 *     quoted there, so that no name of a connection passes for the rest of a line.
 * G2. A look reads LOOK_BYTES_MAX at most; where more was written, the older part is passed over, and our log says so.
 */
import { open } from "node:fs/promises";
import type { Clock, Timer } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { sparingLog } from "../system/sparing-log.ts";
import type { Subscription } from "./bus.ts";
import { ACCOUNT } from "./nats-config.ts";

export type Refusal =
  | { readonly kind: "trespass"; readonly key: string; readonly what: string }
  /** `key`: where it showed one. */
  | { readonly kind: "guess"; readonly address: string; readonly key?: string };

const LOOK_MS = 1_000;
const LOOK_BYTES_MAX = 256 * 1_024;
const SUBJECT_CHARS_MAX = 80;

const QUOTED = String.raw`"((?:[^"\\]|\\.)*)"`;
const KEY = String.raw`Nkey "(U[A-Z2-7]{55})"`;
/** Who did it stands before the deed; older releases have it after. */
const VIOLATION = new RegExp(
  String.raw`\[ERR\] .*? - (?:"${ACCOUNT}/nkey:(U[A-Z2-7]{55})" - )?(Publish|Subscription) Violation - ` +
    String.raw`(?:${KEY}, )?(?:Subject|Reply) ${QUOTED}(?:, Queue: "[^"]*")?(?:, SID \S+)?$`,
);
const STRANGER = new RegExp(String.raw`\[ERR\] (\S+):\d+ - .* - authentication error(?: - (?:${KEY}|User .*))?$`);

/** undefined: the line tells of no refusal. */
export function refusalIn(line: string): Refusal | undefined {
  const [, before, deed, after, subject] = VIOLATION.exec(line) ?? [];
  const key = after ?? before;
  if (key !== undefined && subject !== undefined) {
    const shown = subject.slice(0, SUBJECT_CHARS_MAX);
    return { kind: "trespass", key, what: `${deed === "Publish" ? "wanted to publish" : "wanted to listen to"} ${shown}` };
  }
  const [, address, stranger] = STRANGER.exec(line) ?? [];
  if (address === undefined) return undefined;
  return { kind: "guess", address: address.replace(/^\[(.*)\]$/, "$1"), ...(stranger !== undefined && { key: stranger }) };
}

/** From what is written after this call on. */
export async function watchServerLog(parts: {
  file: string;
  clock: Clock;
  log: Log;
  refused: (refusal: Refusal) => void;
}): Promise<Subscription> {
  const { file, clock, log, refused } = parts;
  const complaints = sparingLog(log, clock);
  let place = await read(file, Number.POSITIVE_INFINITY).then(({ size }) => size);
  let timer: Timer | undefined;
  let stopped = false;
  const look = async (): Promise<void> => {
    const { size, text, passedOver } = await read(file, place);
    // Whose trespasses were there nobody knows any more; those at the end are most likely of whoever made so many.
    if (passedOver > 0)
      complaints.warn("", { bytes: passedOver }, "nats-server refuses more than is looked at; some of it was passed over");
    // What is not a whole line yet comes again.
    const lines = text.slice(0, text.lastIndexOf("\n") + 1);
    place = size - Buffer.byteLength(text.slice(lines.length));
    for (const line of lines.split("\n")) {
      const refusal = refusalIn(line.trimEnd());
      if (refusal !== undefined && !stopped) refused(refusal);
    }
  };
  const arm = (): void => {
    timer = clock.after(LOOK_MS, () => {
      const again = (): void => void (stopped || arm());
      look().then(again, (error: unknown) => {
        log.warn({ err: error }, "nats-server's log cannot be read; what it refuses is noted there alone");
        again();
      });
    });
  };
  arm();
  return {
    stop() {
      stopped = true;
      timer?.cancel();
    },
  };
}

/** What follows `place`. A file that has become shorter is another one: it was rotated. */
async function read(file: string, place: number): Promise<{ size: number; text: string; passedOver: number }> {
  const handle = await open(file, "r").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (handle === undefined) return { size: 0, text: "", passedOver: 0 };
  try {
    const { size } = await handle.stat();
    if (place === Number.POSITIVE_INFINITY) return { size, text: "", passedOver: 0 };
    const begin = place > size ? 0 : place;
    const from = Math.max(begin, size - LOOK_BYTES_MAX);
    if (from === size) return { size, text: "", passedOver: 0 };
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(size - from), 0, size - from, from);
    return { size: from + bytesRead, text: buffer.toString("utf8", 0, bytesRead), passedOver: from - begin };
  } finally {
    await handle.close();
  }
}
