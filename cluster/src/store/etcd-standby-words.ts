/**
 * The words of control nodes that stand by, in etcd: a key of each.
 *
 * W1. It is taken only in the term that it names, in one transaction: so that term lasted still after its writer had sent it.
 * W2. And only after the one before it, so that one which is held up under way never follows a later one.
 */
import { z } from "zod";
import type { StandbyWord } from "../core/word-book.ts";
import { epochIn } from "./etcd-claim.ts";
import { afterPrefix, EtcdFault, type Condition, type Entry, type EtcdClient } from "./etcd-client.ts";
import { Keys } from "./etcd-keys.ts";
import { parseLeader } from "./etcd-leadership.ts";
import type { Leader } from "./leadership.ts";

/** The time in which the next member is asked, and an answer is of use still. */
const ANSWER_MS = 1_000;
/** What is there changes under way: another one leads, or an earlier word was taken unheard. */
const TRIES_MAX = 3;

const Value = z.object({
  node: z.string().max(64),
  boot: z.string().max(64),
  n: z.int().min(1),
  heard: z.int().min(0),
  epoch: z.int().min(1),
  saidMs: z.int().min(0),
});

interface There {
  readonly mark: string;
  /** The node's own word. */
  readonly word: Buffer | string | undefined;
}

interface Term {
  readonly epoch: number;
  readonly leader?: Leader;
}

/** `prefix`: of this cluster's keys. One node's words are written through it. Calls reject with an EtcdFault. */
export function openEtcdStandbyWords({ client, prefix }: { readonly client: EtcdClient; readonly prefix: string }) {
  const keys = new Keys(prefix);
  const folder = `${prefix}words/`;
  const options = { timeoutMs: ANSWER_MS };
  let last: There | undefined;

  const look = async (key: string): Promise<There> => {
    const { found } = await client.transact({ when: [], then: [{ get: keys.epoch }, { get: key }] }, options);
    return thereIn(found);
  };

  return {
    left: async (node: string): Promise<boolean> => (last = await look(folder + node)).word !== undefined,
    async write(word: Omit<StandbyWord, "epoch">): Promise<Term> {
      const key = folder + word.node;
      let there: There = last ?? (await look(key));
      for (let tries = 0; tries < TRIES_MAX; tries += 1) {
        const { mark, word: before } = there;
        const epoch = epochIn(mark);
        const value = JSON.stringify({ ...word, epoch } satisfies StandbyWord);
        const follows: Condition = before === undefined ? { key, exists: false } : { key, value: before };
        const { held, found } = await client.transact(
          {
            when: [{ key: keys.epoch, value: mark }, follows],
            then: [{ put: key, value }, { get: keys.leader }],
            otherwise: [{ get: keys.epoch }, { get: key }],
          },
          options,
        );
        last = there = held ? { mark, word: value } : thereIn(found);
        if (held) return termOf(epoch, found.at(-1));
      }
      throw new EtcdFault("undecided", "who leads changes");
    },
    async read(): Promise<StandbyWord[]> {
      const { entries } = await client.range({ from: folder, to: afterPrefix(folder) }, options);
      return entries.flatMap(({ value }) => parseWord(value) ?? []);
    },
    async remove(node: string): Promise<void> {
      await client.transact({ when: [], then: [{ delete: folder + node }] }, options);
      last = undefined;
    },
  };
}

function thereIn([epoch, word]: readonly (Entry | undefined)[]): There {
  if (epoch === undefined) throw new EtcdFault("undecided", "nobody has led this cluster yet");
  return { mark: epoch.value.toString(), word: word?.value };
}

function termOf(epoch: number, entry: Entry | undefined): Term {
  const leader = entry && parseLeader(entry.value);
  return { epoch, ...(leader !== undefined && { leader }) };
}

/** undefined: not understood. */
function parseWord(value: Buffer): StandbyWord | undefined {
  try {
    return Value.safeParse(JSON.parse(value.toString())).data;
  } catch {
    return undefined;
  }
}
