/**
 * Places at which the process can be made to die, as by `kill -9`, to prove that it may die there. The list is closed;
 * each line says what has happened by then and what has not. tests/faults/failpoints.test.ts dies at every one of them.
 *
 * A1. Only OPENCLAW_CLUSTER_CRASH_AT arms one: `name`, or `name:n` for the n-th pass. A name that is not in the list, or
 *     an n that is no count, ends the start.
 * A2. Unarmed, a pass is one comparison, and stands where a request, a turn or a report passes; never once a task.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Environment } from "./folders.ts";

export const FAILPOINTS = {
  // The coordinator's start and stop.
  "start.authority-key": "The authority's key has its file; it has no certificate yet.",
  "start.drafted": "The first database is whole under its draft's name, and has none of its own yet.",
  "start.claimed": "The new epoch is committed; nothing was read.",
  "start.loaded": "The ledger is built; no node may connect yet, and nobody listens.",
  "start.leading": "Nodes are heard and work is placed; the API's port is closed.",
  "start.token-committed": "The administrator's new token is committed; its file is not written.",
  "stop.asked": "The coordinator was asked to stop and has done nothing about it.",
  "stop.told": "The last turn is over and the nodes are told to go on; the store is open.",

  // One act of a turn each: asked, applied in memory, committed, told.
  "submit.asked": "A submit was read and looked up; nothing is applied.",
  "submit.applied": "Its tasks are in the ledger; nothing is committed.",
  "submit.committed": "They are committed; nobody was answered.",
  "submit.answered": "The answer has left.",
  "place.applied": "Tasks have leases in the ledger; nothing is committed.",
  "place.committed": "The leases are committed; no offer has left.",
  "place.offered": "The offers have left.",
  "report.applied": "A worker's results are settled in the ledger; nothing is committed.",
  "report.committed": "They are committed; the worker has no verdicts.",
  "report.answered": "The verdicts have left.",
  "cancel.applied": "A task is cancelling in the ledger; nothing is committed.",
  "cancel.committed": "That is committed; the order to its node has not left, and nobody was answered.",
  "cancel.ordered": "The order is with the bus; nobody was answered.",
  "enrol.applied": "A node is in the registry; nothing is committed.",
  "enrol.committed": "Its key is committed; nats-server does not know it.",
  "enrol.authorized": "nats-server knows it; nobody was answered.",
  "rotate.applied": "A node has another key in the registry; nothing is committed.",
  "rotate.committed": "That is committed; nats-server still takes the old key alone.",
  "rotate.authorized": "nats-server takes the other key; the node was not answered.",
  "leave.applied": "A node is out of the registry, its leases are given away; nothing is committed.",
  "leave.committed": "That is committed; nats-server still takes its key, and nobody was answered.",
  "alarm.applied": "What came due is changed in the ledger; nothing is committed.",
  "loss.applied": "A node whose connection closed has lost its leases in the ledger; nothing is committed.",

  // The store.
  "prune.deleted": "Old tasks are deleted inside the transaction; nothing is committed.",
  "prune.committed": "They are gone.",
  "backup.copied": "A backup is whole under its draft's name.",
  "backup.named": "It has its name; older ones are not removed yet.",
  "migration.copied": "The database as it was is kept beside the backups; no layout is changed.",
  "migration.changed": "A layout is changed inside its transaction; nothing is committed.",
  "migration.committed": "One layout more is committed; another may follow.",

  "restore.copied": "The backup's copy is beside the database; it is as it was in the past.",
  "restore.adapted": "The copy is made safe for the present, synced and closed.",
  "restore.decided": "It is named as the one that counts; the old database has its name still.",
  "restore.log-aside": "The old database's log is set aside.",
  "restore.set-aside": "So is the old database.",
  "restore.placed": "The restored database has its name.",

  // A node's own commands about its place in the cluster.
  "rotate.written": "The next key is on the node's disk; the coordinator was not asked to take it.",
  "rotate.answered": "The coordinator has taken it; the old one still has its place on the disk.",
  "leave.answered": "The cluster has forgotten the node; its key and the rest still lie here.",
  "leave.cleared": "Its key and its spool are gone; its settings still name the coordinator.",

  // The worker, for attempts whose end is worth keeping.
  "run.ended": "An attempt has ended; the spool does not know it.",
  "run.kept": "Its end is in the spool; no report of it has left.",
  "report.heard": "The coordinator's verdicts have arrived; the spool still has the results.",
  "report.forgotten": "The spool has forgotten them.",
  "take-up.begun": "What an earlier life left is read from the spool; nothing is reported or resumed.",
} as const satisfies Record<string, string>;
export type Failpoint = keyof typeof FAILPOINTS;

export const CRASH_AT = "OPENCLAW_CLUSTER_CRASH_AT";

/** The bus's client writes to its socket within a turn or two. */
const SENT_MS = 2;

let armed: { readonly name: Failpoint; passesLeft: number } | undefined;

/** Called once, before anything is opened. True when a failpoint is armed. */
export function armFailpoint(env: Environment): boolean {
  const text = env[CRASH_AT];
  armed = text ? read(text) : undefined;
  return armed !== undefined;
}

export function isArmed(name: Failpoint): boolean {
  return armed?.name === name;
}

/** The process dies here, if this one is armed. */
export function failpoint(name: Failpoint): void {
  if (armed !== undefined) pass(name);
}

/** As `failpoint`, when what was handed to the bus in this turn of the event loop has left. */
export function failpointOnceSent(name: Failpoint): void {
  if (isArmed(name)) setTimeout(pass, SENT_MS, name);
}

function pass(name: Failpoint): void {
  if (armed?.name !== name) return;
  armed.passesLeft -= 1;
  // Not exit: no handler, no flush, no tidying up. The system ends it before this call returns.
  if (armed.passesLeft === 0) process.kill(process.pid, "SIGKILL");
}

function read(text: string): { name: Failpoint; passesLeft: number } {
  const [name = "", count = "1", ...rest] = text.split(":");
  const passesLeft = Number(count);
  if (!Object.hasOwn(FAILPOINTS, name) || rest.length > 0 || !Number.isSafeInteger(passesLeft) || passesLeft < 1) {
    const names = Object.keys(FAILPOINTS).join(", ");
    throw new ClusterError("config_invalid", `${CRASH_AT} is ${text}; it takes name or name:n, and the names are ${names}.`);
  }
  return { name: name as Failpoint, passesLeft };
}
