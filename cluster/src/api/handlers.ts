/**
 * One small handler for each operation that answers with JSON: what the coordinator is asked, and how its answer is
 * laid out. Input is checked before a handler sees it. The table must be whole, or the server does not start.
 *
 * D1. Every task leaves through `taskFor`, every attempt through `attemptsFor`, every request for a model through `modelRequestFor` (model-handlers.ts), every node that others than operators may see through `nodeFor`. What the table of operations refuses for others'
 *     tasks does not come here (routes.ts).
 */
import type { BulkRequest } from "@openclaw-cluster/contract/bulk";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeSkill } from "@openclaw-cluster/contract/node";
import type { TaskFilter } from "@openclaw-cluster/contract/operations";
import type { Asker, BulkOrder, TaskQuery } from "../coordinator/coordinator.ts";
import { attemptsFor, nodeFor, nodesFor, onlyOf, sees, taskFor, type Reader } from "../core/visibility.ts";
import type { Handlers } from "./handler.ts";
import { MODEL_HANDLERS } from "./model-handlers.ts";

export const HANDLERS: Handlers = {
  listTasks: async (coordinator, { query: { cursor, limit, ...filter }, reader }) => {
    const page = await coordinator.list(listFilter(filter, reader), { limit, ...(cursor !== undefined && { before: cursor }) });
    return reader.all ? page : { ...page, tasks: page.tasks.map((task) => taskFor(reader, task)) };
  },
  getTask: async (coordinator, { params: { id }, query: { wait }, reader, signal }) =>
    taskFor(reader, await (wait === undefined ? coordinator.task(id) : coordinator.waitFor(id, wait * 1_000, signal()))),
  deadLetters: (coordinator, { query: { cursor }, reader }) => {
    const owner = onlyOf(reader);
    return coordinator.deadLetters({ ...(cursor !== undefined && { before: cursor }), ...(owner !== undefined && { owner }) });
  },
  bulk: (coordinator, call) => coordinator.bulk(bulkOrder(call.body, call.reader), askerOf(call)),
  why: (coordinator, { params }) => coordinator.why(params.id),
  attempts: async (coordinator, { params: { id }, reader }) => {
    const attempts = await coordinator.attempts(id);
    const owner = reader.all ? undefined : (await coordinator.task(id)).owner;
    return { attempts: attemptsFor(reader, owner, attempts), ...(!sees(reader, owner) && { hidden: true as const }) };
  },
  result: (coordinator, { params }) => coordinator.result(params.id),
  cancel: (coordinator, call) => coordinator.cancel(call.params.id, askerOf(call)),
  retry: (coordinator, call) => coordinator.retry(call.params.id, askerOf(call)),
  answer: (coordinator, call) => coordinator.answer(call.params.id, call.body.decision, askerOf(call)),
  queue: (coordinator, { query }) => coordinator.queue(query.limit),
  cluster: (coordinator) => coordinator.cluster(),
  health: (coordinator) => coordinator.health(),
  backup: (coordinator, { actor }) => coordinator.backup(actor),
  backups: async (coordinator) => ({ backups: await coordinator.backups() }),
  migrateStore: (coordinator, { body, actor }) => coordinator.migrateStore(body, actor),
  storeMigration: (coordinator) => {
    const migration = coordinator.storeMigration();
    return migration === undefined ? {} : { migration };
  },
  nodes: (coordinator, { query: { all }, reader }) => ({ nodes: nodesFor(reader, coordinator.nodes({ all: all === true })) }),
  ...MODEL_HANDLERS,
  nodesOnline: (coordinator, { reader }) => ({ nodes: nodesFor(reader, coordinator.nodes()).filter(({ state }) => state === "ready") }),
  nodesWithSkill: (coordinator, { params: { skill }, reader }) => ({
    nodes: nodesFor(reader, coordinator.nodes()).filter(({ state, facts }) => state === "ready" && hasSkill(facts?.skills ?? [], skill)),
  }),
  tokens: (coordinator) => ({ tokens: coordinator.tokens() }),
  audit: (coordinator, { query }) => coordinator.auditLog(query),
  makeToken: (coordinator, { body, actor }) => coordinator.makeToken(body, actor),
  revokeToken: (coordinator, { params, actor }) => coordinator.revokeToken(params.id, actor),
  rotateToken: (coordinator, { params, body, actor }) => coordinator.rotateToken(params.id, body, actor),
  invite: (coordinator, { body, actor }) => coordinator.invite(body, actor),
  join: (coordinator, { body, peer, proven }) => coordinator.join(body, peer(), proven),
  session: (coordinator, { params, body, proven }) => coordinator.session(params.id, body, proven),
  probe: (coordinator, { params, body, signal, proven }) => coordinator.probe(params.id, body, signal(), proven),
  leave: (coordinator, { params, body, proven }) => coordinator.leave(params.id, body, proven),
  rotate: (coordinator, { params, body, proven }) => coordinator.rotate(params.id, body, proven),
  approveNode: (coordinator, { params, actor }) => coordinator.approveNode(params.id, actor),
  revokeNode: (coordinator, { params, actor }) => coordinator.revokeNode(params.id, actor),
  enrol: (coordinator, { body: { id, publicKey }, actor }) => coordinator.enrol({ id, publicKey }, actor),
  node: (coordinator, { params, reader }) => nodeFor(reader, coordinator.node(params.id)),
  nodeHealth: (coordinator, { params }) => coordinator.nodeHealth(params.id),
  patchNode: (coordinator, { params, body: { labels, slots }, actor }) =>
    coordinator.patchNode(params.id, { ...(labels !== undefined && { labels }), ...(slots !== undefined && { slots }) }, actor),
  drain: (coordinator, { params, actor }) => coordinator.drain(params.id, true, actor),
  resume: (coordinator, { params, actor }) => coordinator.drain(params.id, false, actor),
  removeNode: (coordinator, { params, actor }) => coordinator.removeNode(params.id, actor),
  shutdownNode: (coordinator, { params, actor }) => coordinator.shutdownNode(params.id, actor),
  promoteNode: (coordinator, { params, body, actor }) => coordinator.promoteNode(params.id, body, actor),
  demoteNode: (coordinator, { params, actor }) => coordinator.demoteNode(params.id, actor),
};

const askerOf = ({ actor, reader: { user } }: { readonly actor: string; readonly reader: Reader }): Asker => ({ actor, user });

function hasSkill(skills: readonly NodeSkill[], wanted: string): boolean {
  return skills.some(({ name, eligible }) => eligible && name === wanted);
}

function bulkOrder({ filter, dryRun, cursor, ...action }: BulkRequest, reader: Reader): BulkOrder {
  const { all: _all, ...conditions } = filter;
  const only = onlyOf(reader);
  return {
    filter: listFilter(conditions, reader),
    act: action.action === "answer" ? { kind: "answer", decision: action.decision } : { kind: action.action },
    ...(dryRun !== undefined && { dryRun }),
    ...(cursor !== undefined && { before: cursor }),
    ...(only !== undefined && { only }),
  };
}

function listFilter({ state, kind, node, label, name, user, owner: asked, mine, dead, alike }: TaskFilter, reader: Reader): TaskQuery {
  // A group of failures is worked out from errors: whoever may not see others' finds their own.
  const owner = mine === true || (alike !== undefined && !reader.all) ? reader.user : asked;
  if (asked !== undefined && asked !== owner)
    throw new ClusterError("bad_request", `These are the tasks of ${owner} alone, not of ${asked}.`);
  return {
    ...(state !== undefined && { states: typeof state === "string" ? [state] : state }),
    ...(kind !== undefined && { kind }),
    ...(node !== undefined && { node }),
    ...(label !== undefined && { label: splitLabel(label) }),
    ...(name !== undefined && { name }),
    ...(user !== undefined && { user }),
    ...(owner !== undefined && { owner }),
    ...(dead === true && { dead }),
    ...(alike !== undefined && { alike }),
  };
}

/** `name=value`; the value may hold more `=`, or be missing for an empty one. */
function splitLabel(label: string): [name: string, value: string] {
  const at = label.indexOf("=");
  return at === -1 ? [label, ""] : [label.slice(0, at), label.slice(at + 1)];
}
