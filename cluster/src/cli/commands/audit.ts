/** `audit`: who let whom in and changed what; and whether the log is whole. */
import type { Client } from "@openclaw-cluster/contract/client/client";
import { AUDIT, type AuditEntry } from "@openclaw-cluster/contract/audit";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Command } from "commander";
import { EMPTY_CHAIN, follow, type ChainHead } from "../../trust/audit-chain.ts";
import { examples, type Act } from "../command.ts";
import { readCount } from "../ids.ts";
import type { Session } from "../session.ts";
import { table } from "../table.ts";
import { dayAndTime } from "../time.ts";

const SHOWN_MAX = 10_000;

export function configure(command: Command, act: Act): void {
  examples(command, "audit", "audit list --last 200", "audit verify");
  examples(
    command
      .command("list", { isDefault: true })
      .summary("list the newest entries, oldest first (also without a word)")
      .option("--last <n>", "how many", "50"),
    "audit list --last 200 --json",
  ).action(act(list));
  examples(
    command
      .command("verify")
      .summary("check that nothing was changed, taken out or put in")
      .option("--expect <seq:hash>", "the end of the log as an earlier `verify` has printed it, noted elsewhere"),
    "audit verify",
    "audit verify --expect 41:2dJZkMZ8sQ1Yh0v3q2Yc8m8v0nqvJ6oYwK0vYb1nWQw",
  ).action(act(verify));
}

async function list(session: Session, { last }: { last: string }): Promise<void> {
  const wanted = readCount(last, "--last", SHOWN_MAX);
  let entries: AuditEntry[] = [];
  for await (const page of pages(await session.client())) entries = [...entries, ...page].slice(-wanted);
  session.show({ entries }, () =>
    table(session.terminal, entries, [
      { title: "N", value: (entry) => String(entry.seq), right: true },
      { title: "AT", value: (entry) => dayAndTime(entry.at) },
      { title: "WHO", value: (entry) => entry.actor },
      { title: "DID", value: (entry) => entry.action },
      { title: "WHAT", value: (entry) => entry.object, cut: true },
    ]),
  );
}

/** Exit code 1 where it is not whole. */
async function verify(session: Session, options: { expect?: string }): Promise<number> {
  const wanted = options.expect === undefined ? undefined : readHead(options.expect);
  let head: ChainHead = EMPTY_CHAIN;
  let known = wanted === undefined || wanted.seq === 0;
  let broken: number | undefined;
  for await (const page of pages(await session.client())) {
    known ||= page.some(({ seq, hash }) => seq === wanted?.seq && hash === wanted.hash);
    ({ head, broken } = follow(head, page));
    if (broken !== undefined) break;
  }
  const whole = broken === undefined && known;
  session.show({ whole, entries: head.seq, head: `${head.seq}:${head.hash}`, ...(broken !== undefined && { broken }) }, () => {
    if (broken !== undefined) return `NOT WHOLE: entry ${broken} does not follow from those before it.\n`;
    if (!known) return `NOT WHOLE: the log does not hold ${options.expect}; it was cut off or written anew.\n`;
    return `whole: ${head.seq} entries. Note this elsewhere, and pass it with --expect the next time:\n${head.seq}:${head.hash}\n`;
  });
  return whole ? 0 : 1;
}

async function* pages(client: Client): AsyncGenerator<readonly AuditEntry[]> {
  for (let after: number | undefined = 0; after !== undefined;) {
    const { entries, next }: { entries: readonly AuditEntry[]; next?: number | undefined } = await client.audit({
      after,
      limit: AUDIT.pageMax,
    });
    yield entries;
    after = next;
  }
}

function readHead(text: string): ChainHead {
  const [, seq, hash] = /^(\d{1,15}):([\w-]{43})$/.exec(text) ?? [];
  if (seq === undefined || hash === undefined)
    throw new ClusterError("usage", "--expect takes what `audit verify` prints: a number, a colon, a hash");
  return { seq: Number(seq), hash };
}
