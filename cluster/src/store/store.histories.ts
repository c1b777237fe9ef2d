/** Random histories of a store, for fast-check: everything that a batch can hold, few enough words that lists find some. */
import fc from "fast-check";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { Reason, TaskState, type Attempt } from "@openclaw-cluster/contract/task";
import type { TaskRecord } from "../core/task.ts";
import type { Batch, ListFilter } from "./store.ts";

type Mutable = Omit<TaskRecord, "key" | "spec" | "priority" | "owner" | "token" | "createdAt">;
type Fixed = Pick<TaskRecord, "spec" | "priority" | "owner" | "token" | "createdAt">;

export type Step =
  | {
      readonly kind: "commit";
      readonly created: readonly (Fixed & Mutable & { readonly skip: number })[];
      /** `of` picks one of the tasks there are. */
      readonly changed: readonly { readonly of: number; readonly to: Mutable }[];
      readonly attempts: readonly { readonly of: number; readonly attempt: Omit<Attempt, "n"> }[];
      readonly rest: Pick<Batch, "keys" | "nodesRemoved" | "nodes" | "tokens" | "tokensRemoved">;
      /** What is said in entries of the audit log. */
      readonly audit: readonly string[];
    }
  | { readonly kind: "claim" | "stale" | "reopen" }
  | { readonly kind: "prune"; readonly endedBefore: number; readonly keep?: number; readonly submitsBefore?: number };

const small = fc.nat(1_000);
const word = fc.constantFrom("a", "b", "gpu", "weird \" \\ ' . $ [0] 名\u0000");
const node = fc.constantFrom("studio", "nas") as fc.Arbitrary<NodeId>;
const json = fc.jsonValue({ maxDepth: 2 });
const labels = fc.dictionary(word, word, { maxKeys: 2 });
const error = fc.record({ code: fc.constantFrom("node_lost", "agent_failed"), message: fc.string() }) as fc.Arbitrary<
  NonNullable<TaskRecord["error"]>
>;

const spec = fc.record(
  { kind: fc.constantFrom("echo", "tool"), input: fc.record({ value: json }), name: word, user: word, labels },
  { requiredKeys: ["kind", "input"] },
) as unknown as fc.Arbitrary<TaskRecord["spec"]>;

const placement = fc.record({
  node,
  strategy: fc.constant("balanced"),
  at: small,
  scored: fc.array(fc.tuple(node, fc.constant(0.5), fc.constant({ eta: 0.25 })), { maxLength: 2 }),
  refused: fc.constant([]),
}) as fc.Arbitrary<NonNullable<TaskRecord["placement"]>>;

const mutable = {
  state: fc.constantFrom(...TaskState.options),
  reason: fc.constantFrom(...Reason.options),
  seq: small,
  attempt: small,
  failures: small,
  losses: small,
  throttles: small,
  lastFailure: fc.record({ node, print: word }),
  queuedAt: small,
  acted: fc.boolean(),
  dueAt: small,
  lease: fc.record(
    { node, epoch: small, offeredAt: small, boot: small, startedAt: small },
    { requiredKeys: ["node", "epoch", "offeredAt"] },
  ),
  placement,
  progress: fc.record({ fraction: fc.constant(0.5), text: word }, { requiredKeys: [] }),
  startedAt: small,
  endedAt: small,
  result: json,
  resultBlob: fc.record({ blob: word, bytes: small }),
  error,
};
const required = ["state", "reason", "seq", "attempt", "failures", "losses", "queuedAt", "acted"] as const;
const change = fc.record(mutable, { requiredKeys: [...required] }) as fc.Arbitrary<Mutable>;
const fresh = fc.record(
  { ...mutable, spec, priority: fc.nat(9), owner: word, token: word, createdAt: small, skip: fc.nat(2) },
  { requiredKeys: [...required, "spec", "priority", "owner", "token", "createdAt", "skip"] },
) as fc.Arbitrary<Fixed & Mutable & { skip: number }>;

const attempt = fc.record(
  { node, epoch: small, state: fc.constant("ended" as const), offeredAt: small, error },
  { requiredKeys: ["node", "epoch", "state", "offeredAt"] },
);
const rest = fc.record({
  keys: fc.array(
    fc.record({ owner: word, key: word, bodyHash: word, runs: fc.array(fc.tuple(small, small), { maxLength: 2 }), at: small }),
    { maxLength: 2 },
  ),
  nodesRemoved: fc.array(node, { maxLength: 1 }),
  nodes: fc.array(
    fc.record({
      id: node,
      publicKey: word,
      state: fc.constant("approved"),
      draining: fc.boolean(),
      labels,
      registeredAt: small,
      succeeded: small,
      failed: small,
    }),
    { maxLength: 2 },
  ),
  tokens: fc.array(fc.record({ id: word, hash: word, scope: fc.constant("viewer"), name: word, createdAt: small }), { maxLength: 2 }),
  tokensRemoved: fc.array(word, { maxLength: 1 }),
}) as fc.Arbitrary<Pick<Batch, "keys" | "nodesRemoved" | "nodes" | "tokens" | "tokensRemoved">>;

const history = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        kind: fc.constant("commit" as const),
        created: fc.array(fresh, { maxLength: 4 }),
        changed: fc.array(fc.record({ of: small, to: change }), { maxLength: 4 }),
        attempts: fc.array(fc.record({ of: small, attempt }), { maxLength: 2 }),
        rest,
        audit: fc.array(word, { maxLength: 2 }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("claim" as const, "stale" as const, "reopen" as const) }) },
    {
      weight: 1,
      arbitrary: fc.record(
        { kind: fc.constant("prune" as const), endedBefore: small, keep: fc.nat(6), submitsBefore: small },
        { requiredKeys: ["kind", "endedBefore"] },
      ),
    },
  ) as fc.Arbitrary<Step>,
  { maxLength: 12 },
);
/** As JSON would give them: fast-check's objects have no prototype, which a comparison would see. */
export const steps: fc.Arbitrary<Step[]> = history.map((made) => JSON.parse(JSON.stringify(made)));

export const filters: fc.Arbitrary<ListFilter> = fc.record(
  {
    states: fc.subarray([...TaskState.options]),
    kind: fc.constantFrom("echo", "tool"),
    node,
    label: fc.tuple(word, word),
    name: word,
    user: word,
    owner: word,
    dead: fc.constant(true),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<ListFilter>;
