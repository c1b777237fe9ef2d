/** Opens the coordinator: the lead, and the desks at which callers ask. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { isTerminal } from "../core/task.ts";
import { auditLog } from "./audit.ts";
import { BulkDesk } from "./bulk-desk.ts";
import { failpoint } from "../system/failpoint.ts";
import { ControlDesk } from "./control-desk.ts";
import type { Coordinator } from "./coordinator.ts";
import { groupDeadLetters } from "./dead-letters.ts";
import { JoinDesk } from "./join-desk.ts";
import { Lead } from "./lead.ts";
import type { LeadParts } from "./lead-parts.ts";
import { MemberDesk } from "./member-desk.ts";
import { readLogs } from "./logs.ts";
import { NodeDesk } from "./node-desk.ts";
import { twinText } from "./registry.ts";
import { TaskDesk } from "./task-desk.ts";
import { TokenDesk } from "./token-desk.ts";

export async function openCoordinator(parts: LeadParts): Promise<Coordinator> {
  const claim = parts.claim ?? (await parts.store.claim());
  failpoint("start.claimed");
  const lead = new Lead(parts, claim, await parts.store.load());
  checkOwnName(lead);
  const tasks = new TaskDesk(lead);
  const bulk = new BulkDesk(lead);
  const nodes = new NodeDesk(lead);
  const joining = new JoinDesk(lead, nodes);
  const tokens = new TokenDesk(lead);
  failpoint("start.loaded");
  for (const [id, owner] of lead.state.registry.twins()) parts.log.error({ node: id }, twinText(id, owner));
  await lead.gate.authorize();
  await lead.backups?.start();
  lead.start();
  parts.log.info({ cluster: claim.cluster, epoch: claim.epoch, live: lead.state.ledger.size }, "leading");

  return {
    cluster: () => nodes.cluster(),
    health: () => nodes.health(),
    ...storeOf(nodes, parts),
    nodes: (options) => nodes.nodes(options),
    node: (id) => nodes.node(id),
    nodeHealth: (id) => nodes.nodeHealth(id),
    models: async () => (await parts.models?.()) ?? [],
    enrol: (request, actor) => nodes.enrol(request, actor),
    ...membership(joining, new MemberDesk(lead, nodes, tasks)),
    patchNode: (id, patch, actor) => nodes.patch(id, patch, actor),
    drain: (id, draining, actor) => nodes.drain(id, draining, actor),
    shutdownNode: (id, actor) => nodes.shutdown(id, {}, actor),
    ...controlling(new ControlDesk(lead, nodes, tokens)),
    removeNode: (id, actor) => nodes.remove(id, actor),
    admission: lead.intake.admission,
    submit: (request) => tasks.submit(request),
    plan: (specs, by) => tasks.plan(specs, by),
    task: (id) => tasks.task(id),
    waitFor: (id, ms, signal) => tasks.waitFor(id, ms, signal),
    list: (filter, page) => tasks.list(filter, page),
    why: (id) => tasks.why(id),
    attempts: (id) => tasks.attempts(id),
    result: (id) => tasks.result(id),
    cancel: (id, by) => tasks.cancel(id, by),
    retry: (id, by) => tasks.retry(id, by),
    answer: (id, decision, by) => tasks.answer(id, decision, by),
    bulk: (order, by) => bulk.carryOut(order, by),
    deadLetters: (page) => groupDeadLetters(parts, page),
    queue: (limit) => tasks.queue(limit),
    events: (after, signal) => lead.feed.listen(after, signal),
    async *logs(id, options) {
      const { key } = await tasks.committed(id);
      const source = {
        bus: parts.bus,
        clock: parts.clock,
        record: () => tasks.committed(id),
        attempts: () => tasks.attempts(id),
        past: (attempt: number, signal: AbortSignal) => past(lead, key, attempt, signal),
      };
      yield* readLogs(id, source, options);
    },
    token: (hash) => lead.tokens.find(hash, parts.clock.wall()),
    ...tokensOf(tokens),
    auditLog: (page) => auditLog(parts.store, page),
    guessed: (address) => lead.guessed(address, "too many wrong tokens"),
    stop: () => lead.stop(),
    abandon: () => lead.abandon(),
    lastWord: (sureUntil, signal) => lead.lastWord(sureUntil, signal),
  };
}

/** Under another id its node would be a second one with the same key, which nobody can be (N1 in registry.ts). */
function checkOwnName({ parts: { self, ownKeys = [] }, state: { registry } }: Lead): void {
  const known = ownKeys.map((key) => registry.ownerOf(key)).find((id) => id !== undefined);
  if (known === undefined || known === self) return;
  throw new ClusterError(
    "config_invalid",
    `nodeId: the cluster knows this machine as ${known}, by its key, and cannot know it as ${self}; nothing was changed. ` +
      `Set it back: openclaw-cluster config set nodeId ${known}`,
  );
}

type StoreAsked = "backup" | "backups" | "migrateStore" | "storeMigration";

function storeOf(nodes: NodeDesk, { storeMover }: LeadParts): Pick<Coordinator, StoreAsked> {
  return {
    backup: (actor) => nodes.backup(actor),
    backups: () => nodes.backups(),
    migrateStore: (request, actor) => nodes.migrateStore(request, actor),
    storeMigration: () => storeMover?.migration(),
  };
}

type Membership = "invite" | "join" | "session" | "approveNode" | "revokeNode" | "probe" | "leave" | "rotate";

function membership(joining: JoinDesk, members: MemberDesk): Pick<Coordinator, Membership> {
  return {
    invite: (request, actor) => joining.invite(request, actor),
    join: (request, peer, proven) => joining.join(request, peer, proven),
    session: (id, request, proven) => joining.session(id, request, proven),
    approveNode: (id, actor) => joining.approve(id, actor),
    revokeNode: (id, actor) => joining.revoke(id, actor),
    probe: (id, request, signal, proven) => members.probe(id, request, signal, proven),
    leave: (id, request, proven) => members.leave(id, request, proven),
    rotate: (id, request, proven) => members.rotate(id, request, proven),
  };
}

function tokensOf(tokens: TokenDesk): Pick<Coordinator, "tokens" | "makeToken" | "revokeToken" | "rotateToken" | "addToken"> {
  return {
    tokens: () => tokens.list(),
    makeToken: (request, actor) => tokens.make(request, actor),
    revokeToken: (id, actor) => tokens.revoke(id, actor),
    rotateToken: (id, rotation, actor) => tokens.rotate(id, rotation, actor),
    addToken: (row) => tokens.add(row),
  };
}

function controlling(control: ControlDesk): Pick<Coordinator, "promoteNode" | "demoteNode"> {
  return {
    promoteNode: (id, options, actor) => control.promote(id, options, actor),
    demoteNode: (id, actor) => control.demote(id, actor),
  };
}

function past(lead: Lead, key: number, attempt: number, signal: AbortSignal): Promise<void> {
  const task = lead.state.ledger.get(key);
  if (task === undefined || isTerminal(task.state) || task.attempt > attempt || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const stop = lead.state.outgoing.whenPast(key, attempt, resolve);
    const leave = (): void => {
      stop();
      resolve();
    };
    signal.addEventListener("abort", leave, { once: true });
  });
}
