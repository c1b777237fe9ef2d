/**
 * The store in etcd as the source of a copy: read at one revision, at which everything is folded. What is in the log by then is
 * left out.
 */
import assert from "node:assert/strict";
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import type { Attempt } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { TaskRecord } from "../core/task.ts";
import { afterPrefix, type Entry } from "./etcd-client.ts";
import { fromJson, type DoneRow, type Head, type Outcome, type Unspecified } from "./etcd-codec.ts";
import { numberIn, submitHash, taskIn } from "./etcd-keys.ts";
import { pages, type Look } from "./etcd-look.ts";
import type { CopySource } from "./store-copy.ts";
import type { AttemptRow, NodeRow, Rows, SubmitKey, TokenRow } from "./store.ts";

/** With specs and outcomes: 64 MiB at the worst. */
const TASKS_PER_PIECE = 128;

export function etcdSource(look: Look, revision: number): CopySource {
  const { keys } = look.place;
  const entries = (folder: string): AsyncGenerator<readonly Entry[]> =>
    pages(look, { from: keys.folder(folder), to: afterPrefix(keys.folder(folder)), revision });
  const values = async function* <T>(folder: string): AsyncGenerator<T[]> {
    for await (const page of entries(folder)) yield page.map(({ value }) => fromJson<T>(value));
  };
  return {
    async identity() {
      const { found } = await look.get([keys.cluster, keys.epoch, keys.head], revision);
      const [cluster, epoch, head] = found.map((entry) => entry?.value ?? Buffer.from("null"));
      return {
        cluster: String(cluster) as ClusterId,
        epoch: Number.parseInt(String(epoch), 10),
        lastKey: fromJson<Head>(head as Buffer).lastKey,
      };
    },
    async *pieces(): AsyncGenerator<Rows> {
      // Each task has one spec, and those lie in the order of the keys.
      for await (const page of entries("spec")) {
        for (let at = 0; at < page.length; at += TASKS_PER_PIECE)
          yield { created: await wholeTasks(look, page.slice(at, at + TASKS_PER_PIECE), revision) };
      }
      for await (const page of entries("attempt")) {
        yield { attempts: page.map(attemptRow) };
      }
      for await (const some of values<SubmitKey>("submit")) yield { keys: some };
      for await (const nodes of values<NodeRow>("node")) yield { nodes };
      for await (const tokens of values<TokenRow>("token")) yield { tokens };
      for await (const audit of values<AuditEntry>("audit")) yield { audit };
    },
  };
}

/** What lies in the place of these rows, all of which is folded. */
export async function etcdRows(look: Look, { created = [], changed = [], attempts = [], keys = [], ...rest }: Rows): Promise<Rows> {
  const { keys: at } = look.place;
  const { nodes = [], nodesRemoved = [], tokens = [], tokensRemoved = [], audit = [] } = rest;
  const { found: specs, revision } = await look.get([...created, ...changed].map(({ key }) => at.spec(key)));
  const read = async <T>(names: readonly string[]): Promise<T[]> => {
    const { found } = await look.get(names, revision);
    return found.filter((entry) => entry !== undefined).map(({ value }) => fromJson<T>(value));
  };
  const { found: ended } = await look.get(
    attempts.map(({ task, attempt }) => at.attempt(task, attempt.n)),
    revision,
  );
  return {
    changed: await wholeTasks(
      look,
      specs.filter((entry) => entry !== undefined),
      revision,
    ),
    attempts: ended.flatMap((entry) => (entry === undefined ? [] : [attemptRow(entry)])),
    keys: await read<SubmitKey>(keys.map(({ owner, key }) => at.submit(submitHash(owner, key)))),
    nodes: await read<NodeRow>([...nodes.map(({ id }) => id), ...nodesRemoved].map(at.node)),
    tokens: await read<TokenRow>([...tokens.map(({ id }) => id), ...tokensRemoved].map(at.token)),
    audit: await read<AuditEntry>(audit.map(({ seq }) => at.audit(seq))),
  };
}

function attemptRow({ key, value }: Entry): AttemptRow {
  return { task: taskIn(key), attempt: fromJson<Attempt>(value) };
}

async function wholeTasks(look: Look, specs: readonly Entry[], revision: number): Promise<TaskRecord[]> {
  const { keys } = look.place;
  const of = specs.map(({ key }) => numberIn(key));
  const { found: rows } = await look.get([...of.map(keys.live), ...of.map(keys.done)], revision);
  const { found: outcomes } = await look.get(of.map(keys.outcome), revision);
  return specs.map(({ value }, at) => {
    const [live, done, outcome] = [rows[at], rows[at + specs.length], outcomes[at]];
    assert((live === undefined) !== (done === undefined), `task ${of[at]} is not in one place`);
    const spec = fromJson<TaskSpec>(value);
    if (live !== undefined) return { ...fromJson<Unspecified>(live.value), spec };
    const row = fromJson<DoneRow>((done as Entry).value);
    assert(row.apart !== true || outcome !== undefined, `task ${of[at]} has lost its outcome`);
    return { ...row.task, spec, ...(row.apart === true && fromJson<Outcome>((outcome as Entry).value)) };
  });
}
