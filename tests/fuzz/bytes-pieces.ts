/**
 * Bytes as they are written onto the wire of the bus by whoever has a key of the cluster (hostile-bytes.ts): under all subjects that
 * there are, with every way of asking for an answer, as JSON, as something like it, and as parts of a large message.
 */
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { OutputChunk } from "@openclaw-cluster/contract/wire";
import fc from "fast-check";
import {
  controlTo,
  COORDINATOR_INBOX,
  heartbeatFrom,
  inboxOf,
  offersTo,
  outputOf,
  reportFrom,
  wordFrom,
} from "../../cluster/src/bus/subjects.ts";
import { valuesOfType } from "./from-schema.ts";
import { zeros } from "./many.ts";
import { bytesOf, textForms } from "./mutation.ts";

export interface Piece {
  readonly from: "node" | "coordinator";
  readonly subject: string;
  readonly reply: string | undefined;
  /** Or what they are as the nth that is written. */
  readonly bytes: Buffer | ((nth: number) => Buffer);
  readonly sealed: boolean;
  readonly part: string | undefined;
}

export const [GOOD, EVIL] = ["good" as NodeId, "evil" as NodeId];
/** The first task is the honest node's, the second the other one's. */
export const [TASK, OWN] = ["t1" as TaskId, "t2" as TaskId];
const HUGE = 1_000_000;

const UP = [
  reportFrom(EVIL),
  heartbeatFrom(EVIL),
  outputOf(EVIL, TASK, 1),
  outputOf(EVIL, OWN, 1),
  wordFrom(EVIL),
  "ocx.blob.evil.t1.1.end",
  "ocx.up.evil.nothing",
];
/** Not its own: the server is to refuse them. */
const FOREIGN = [
  reportFrom(GOOD),
  heartbeatFrom(GOOD),
  offersTo(GOOD),
  `${COORDINATOR_INBOX}.x.y`,
  "$SYS.REQ.SERVER.PING",
  "$JS.API.STREAM.PURGE.OCX_OUT_good",
];
const DOWN = [offersTo(GOOD), controlTo(GOOD), `${inboxOf(GOOD)}.x.y`, reportFrom(EVIL)];
const REPLIES = [undefined, `${inboxOf(EVIL)}.x.y`, `${inboxOf(GOOD)}.x.y`, offersTo(GOOD), `${COORDINATOR_INBOX}.x.y`];
const PARTS = [
  "",
  "m",
  "m 0 2",
  "m 0 1",
  "m 1 2",
  "m 0 99999999",
  "m 0 -1",
  "m NaN NaN",
  "m 0 1e3",
  "m 0 0",
  " ",
  "a b c d",
  "x".repeat(4_000),
];

/** Lines of a seal (trust/envelope.ts): cut short, and whole, by lives that nobody lives. */
const [LIFE, MAC, SIGNATURE] = ["L".repeat(43), "A".repeat(43), "A".repeat(86)];
const SEALS = [
  ...["m ", "a ", "c ", "h "],
  ...[
    `m ${LIFE} 1 ${LIFE} ${MAC}`,
    `h ${LIFE} 1 - ${SIGNATURE}`,
    `h ${LIFE} 9007199254740993 ${LIFE} ${SIGNATURE}`,
    `a ${LIFE} ${MAC}`,
    `c ${LIFE} ${SIGNATURE}`,
  ].map((line) => `${line}\n{}`),
];

const anything: fc.Arbitrary<Piece> = fc
  .record({
    node: fc.boolean(),
    up: fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...UP) }, { weight: 1, arbitrary: fc.constantFrom(...FOREIGN) }),
    down: fc.constantFrom(...DOWN),
    reply: fc.constantFrom(...REPLIES),
    bytes: fc.oneof(
      { weight: 4, arbitrary: fc.tuple(fc.jsonValue(), textForms).map(([value, form]) => bytesOf(value, form)) },
      { weight: 2, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)) },
      {
        weight: 1,
        arbitrary: fc.constantFrom(...SEALS).map((text) => Buffer.from(text)),
      },
    ),
    sealed: fc.boolean(),
    part: fc.option(fc.constantFrom(...PARTS), { nil: undefined, freq: 2 }),
  })
  .map(({ node, up, down, ...rest }) => ({ ...rest, from: node ? "node" : "coordinator", subject: node ? up : down }));

/** Output that is well, of the task that it says: its own, or the honest node's. */
const output: fc.Arbitrary<Piece> = fc
  .record({ chunk: valuesOfType(OutputChunk) as fc.Arbitrary<OutputChunk>, task: fc.constantFrom(TASK, OWN) })
  .map(({ chunk, task }) => ({
    ...{ from: "node", subject: outputOf(EVIL, task, 1), reply: undefined, sealed: false, part: undefined },
    // Behind a last one, and before one that was read, nothing more is read.
    bytes: (nth) => Buffer.from(JSON.stringify({ ...chunk, task, attempt: 1, n: nth, last: undefined })),
  }));

export const pieces: fc.Arbitrary<Piece> = fc.oneof({ weight: 9, arbitrary: anything }, { weight: 1, arbitrary: output });

/** They come first: as large as the server takes, doubled and halved. */
export const KNOWN_BAD: readonly Piece[] = [
  // Its answer would be larger than a message may be.
  {
    from: "node",
    subject: heartbeatFrom(EVIL),
    reply: `${inboxOf(EVIL)}.x.large`,
    bytes: Buffer.from(
      `{"node":"evil","boot":1,"n":9,"load":{"cpu":0,"memoryFreeMiB":1,"diskFreeMiB":1,"running":0,"held":0},"held":[${'{"task":"t1","attempt":1e9,"epoch":1e9},'.repeat(25_000)}{"task":"t1","attempt":1,"epoch":1}]}`,
    ),
    sealed: true,
    part: undefined,
  },
  ...[Buffer.alloc(HUGE), Buffer.from("[".repeat(HUGE)), Buffer.from(JSON.stringify(zeros(HUGE / 2 - 1)))].flatMap((bytes): Piece[] => [
    ...[true, false].map((sealed): Piece => ({
      from: "node",
      subject: reportFrom(EVIL),
      reply: undefined,
      bytes,
      sealed,
      part: undefined,
    })),
    { from: "coordinator", subject: offersTo(GOOD), reply: undefined, bytes, sealed: false, part: undefined },
  ]),
  ...Array.from({ length: 70 }, (_, n): Piece => ({
    from: "node",
    subject: reportFrom(EVIL),
    reply: `${inboxOf(EVIL)}.x.${n}`,
    bytes: Buffer.alloc(16_384),
    sealed: false,
    part: `m ${n} 999`,
  })),
];
