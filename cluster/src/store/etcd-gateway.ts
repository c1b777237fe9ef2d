/** etcd's own words for what etcd-client.ts asks: the JSON that its gateway takes, with keys and values in base64 and numbers as text. */
import type { IncomingMessage } from "node:http";
import {
  afterPrefix,
  EtcdFault,
  type Change,
  type Condition,
  type Entry,
  type EtcdClient,
  type Operation,
  type RangeOptions,
  type Ranged,
  type Transacted,
} from "./etcd-client.ts";
import { CHANGE, Endpoints, LOOK, type EndpointOptions } from "./etcd-endpoints.ts";
import { upkeep } from "./etcd-upkeep.ts";

interface Header {
  readonly revision?: string;
}
interface Kv {
  readonly key: string;
  readonly value?: string;
  readonly mod_revision: string;
}
interface RangeAnswer {
  readonly header?: Header;
  readonly kvs?: readonly Kv[];
  readonly more?: boolean;
}
interface TransactionAnswer {
  readonly header: Header;
  readonly succeeded?: boolean;
  readonly responses?: readonly { readonly response_range?: RangeAnswer }[];
}
interface WatchLine {
  readonly result?: {
    readonly header: Header;
    readonly canceled?: boolean;
    readonly compact_revision?: string;
    readonly events?: readonly { readonly type?: string; readonly kv: Kv }[];
  };
}

/** After a watch broke off, so that a cluster without a leader is not asked in a tight loop. */
const WATCH_AGAIN_MS = 200;

export function openEtcd(options: EndpointOptions): EtcdClient {
  const endpoints = new Endpoints(options);
  return {
    async transact({ when, then, otherwise = [] }, options): Promise<Transacted> {
      const body = { compare: when.map(compareOf), success: then.map(requestOf), failure: otherwise.map(requestOf) };
      const isLook = [...then, ...otherwise].every((operation) => "get" in operation);
      const answer = (await endpoints.ask("/v3/kv/txn", body, { ...options, safe: isLook })) as unknown as TransactionAnswer;
      const held = answer.succeeded === true;
      return { held, revision: Number(answer.header.revision), found: foundIn(held ? then : otherwise, answer) };
    },
    async range(range, options): Promise<Ranged> {
      const answer = (await endpoints.ask("/v3/kv/range", rangeOf(range), { ...options, ...LOOK })) as RangeAnswer;
      return { entries: (answer.kvs ?? []).map(entryOf), more: answer.more === true, revision: Number(answer.header?.revision) };
    },
    watch: (prefix, from, signal) => watch(endpoints, prefix, from, signal),
    async grant(seconds, options) {
      const { ID } = await endpoints.ask("/v3/lease/grant", { TTL: seconds }, { ...options, ...CHANGE });
      return String(ID);
    },
    async renew(lease, options) {
      const { result } = (await endpoints.ask("/v3/lease/keepalive", { ID: lease }, { ...options, ...LOOK })) as {
        result?: { TTL?: string };
      };
      return Number(result?.TTL ?? 0);
    },
    async revoke(lease, options) {
      await endpoints.ask("/v3/lease/revoke", { ID: lease }, { ...options, ...CHANGE });
    },
    ...upkeep(endpoints),
    comeHome: () => endpoints.comeHome(),
    close: () => endpoints.close(),
  };
}

async function* watch(endpoints: Endpoints, prefix: string, from: number, signal: AbortSignal): AsyncGenerator<readonly Change[]> {
  for (let next = from; !signal.aborted;) {
    try {
      for await (const changes of watchOnce(endpoints, prefix, next, signal)) {
        next = (changes.at(-1)?.revision ?? next - 1) + 1;
        yield changes;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof EtcdFault) || error.kind === "compacted" || error.kind === "unauthorized") throw error;
    }
    await new Promise((resolve) => void setTimeout(resolve, WATCH_AGAIN_MS).unref());
  }
}

async function* watchOnce(endpoints: Endpoints, prefix: string, from: number, signal: AbortSignal): AsyncGenerator<readonly Change[]> {
  // Left by whoever listens, or for another member: then this connection must not go on.
  const over = new AbortController();
  const leave = AbortSignal.any([signal, over.signal]);
  const create = { key: base64(prefix), range_end: base64(afterPrefix(prefix)), start_revision: from };
  const answer = await endpoints.stream("/v3/watch", { create_request: create }, leave);
  try {
    for await (const line of linesOf(answer)) {
      const { result } = JSON.parse(line) as WatchLine;
      if (result === undefined || result.canceled === true) {
        if (result?.compact_revision !== undefined) throw new EtcdFault("compacted", `etcd has forgotten revision ${from}`);
        return;
      }
      const changes = (result.events ?? []).map(({ type, kv }) => {
        const { key, value, revision } = entryOf(kv);
        return { key, value: type === "DELETE" ? undefined : value, revision };
      });
      yield* byRevision(changes);
    }
  } finally {
    over.abort();
    endpoints.leave(answer);
  }
}

/** Not by readline, which hears nothing of a connection that was cut: it would wait for ever, and the error would end the process. */
async function* linesOf(answer: IncomingMessage): AsyncGenerator<string> {
  // Also after the last line was taken: leaving cuts the connection.
  answer.on("error", () => undefined);
  answer.setEncoding("utf8");
  let rest = "";
  try {
    for await (const piece of answer as AsyncIterable<string>) {
      // A long line comes in many pieces; only the new one can end it.
      const lines = piece.split("\n");
      rest += lines[0];
      if (lines.length === 1) continue;
      for (const line of [rest, ...lines.slice(1, -1)]) if (line !== "") yield line;
      rest = lines.at(-1) as string;
    }
  } catch (cause) {
    throw new EtcdFault("undecided", "etcd's watch was cut", { cause });
  }
}

function* byRevision(changes: readonly Change[]): Generator<readonly Change[]> {
  let together: Change[] = [];
  for (const one of changes) {
    if (together.length > 0 && together[0]?.revision !== one.revision) {
      yield together;
      together = [];
    }
    together.push(one);
  }
  if (together.length > 0) yield together;
}

function compareOf(condition: Condition): unknown {
  const key = base64(condition.key);
  if ("value" in condition) return { key, target: "VALUE", result: "EQUAL", value: base64(condition.value) };
  return { key, target: "CREATE", result: condition.exists ? "GREATER" : "EQUAL", create_revision: 0 };
}

function requestOf(operation: Operation): unknown {
  if ("put" in operation) {
    const { put, value, lease } = operation;
    return { request_put: { key: base64(put), value: base64(value), ...(lease !== undefined && { lease }) } };
  }
  if ("get" in operation) {
    const { get, revision, local } = operation;
    return {
      request_range: { key: base64(get), ...(revision !== undefined && { revision }), ...(local === true && { serializable: true }) },
    };
  }
  if ("delete" in operation) return { request_delete_range: { key: base64(operation.delete) } };
  const [from, to] = "deletePrefix" in operation ? [operation.deletePrefix, afterPrefix(operation.deletePrefix)] : operation.deleteRange;
  return { request_delete_range: { key: base64(from), range_end: base64(to) } };
}

function rangeOf({ from, to, limit, newestKeyFirst, keysOnly, revision, local }: RangeOptions): unknown {
  return {
    key: base64(from),
    range_end: base64(to),
    ...(limit !== undefined && { limit }),
    ...(newestKeyFirst === true && { sort_order: "DESCEND", sort_target: "KEY" }),
    ...(keysOnly === true && { keys_only: true }),
    ...(revision !== undefined && { revision }),
    ...(local === true && { serializable: true }),
  };
}

function foundIn(operations: readonly Operation[], { responses = [] }: TransactionAnswer): (Entry | undefined)[] {
  return operations.flatMap((operation, index) => {
    if (!("get" in operation)) return [];
    const [kv] = responses[index]?.response_range?.kvs ?? [];
    return [kv && entryOf(kv)];
  });
}

function entryOf({ key, value = "", mod_revision }: Kv): Entry {
  return { key: Buffer.from(key, "base64").toString(), value: Buffer.from(value, "base64"), revision: Number(mod_revision) };
}

const base64 = (value: string | Buffer): string => Buffer.from(value as string).toString("base64");
