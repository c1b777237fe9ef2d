/**
 * The steps before a node can go: no new work, the ends of what it has, and its daemon's end, whoever runs that.
 *
 * G1. Given up on the way, the node takes work again as before.
 * G2. It goes with nothing in its hands: what is done was accepted, what is not was given back.
 */
import { setTimeout as pause } from "node:timers/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Leaving } from "@openclaw-cluster/contract/membership";
import type { Daemon } from "../compose/compose.ts";
import type { Member } from "../compose/member.ts";
import { foldersOf } from "../system/folders.ts";
import { isClaimed } from "../system/home-claim.ts";
import type { Service } from "./service/service.ts";
import type { Session } from "./session.ts";
import { remark } from "./terminal.ts";

export interface Leave {
  readonly session: Session;
  readonly home: string;
  readonly member: Member;
  readonly signal: AbortSignal;
  /** What runs may take so long. */
  readonly waitMs: number;
  /** It may take no time at all. */
  readonly now: boolean;
  readonly service: Service | undefined;
}

const LOOK_MS = 500;
/** A daemon may take 20 s for what runs, and some for the rest (service/plan.ts). */
const END_MS_MAX = 45_000;
/** The order to end travels on the bus, which may lose it. */
const ORDER_AGAIN_MS = 5_000;
/** The last results of a daemon that was just stopped are delivered by the next one within moments. */
const REST_MS_MAX = 60_000;

/** G1. Gives the daemon that this process runs, where no other does and there is something to hand over. */
export async function drainFirst(leave: Leave): Promise<Daemon | undefined> {
  const { member, now, waitMs, signal, session } = leave;
  const { node } = member.session;
  const first = await member.leave("drain");
  let own: Daemon | undefined;
  try {
    own = await daemonForTheRest(leave);
    if (now) return own;
    const giveUpAt = performance.now() + waitMs;
    let told = "";
    for (let left = first; left.held > 0; left = await member.leave("drain")) {
      if (performance.now() > giveUpAt) throw tooLong(left, waitMs, session);
      const news = session.terminal.errColumns === undefined ? "" : `${node} still has ${namesOf(left)}; it goes when they have ended`;
      if (news !== told) remark(session.terminal, news);
      told = news;
      await pause(LOOK_MS, undefined, { signal });
    }
    return own;
  } catch (error) {
    await own?.stop();
    if (!first.wasDraining) await member.leave("stay");
    throw error;
  }
}

/** G2. */
export async function endDaemon(leave: Leave, own: Daemon | undefined): Promise<void> {
  const { home, session, signal } = leave;
  const folders = foldersOf(home);
  await (own === undefined ? endOther(leave) : endOwn(leave, own));
  const { owedBy } = await import("../compose/leaving.ts");
  if (owedBy(folders) === 0) return;
  const last = await daemonForTheRest(leave);
  const giveUpAt = performance.now() + REST_MS_MAX;
  try {
    while (owedBy(folders) > 0 && performance.now() < giveUpAt) await pause(LOOK_MS, undefined, { signal });
  } finally {
    await last?.stop();
  }
  const owed = owedBy(folders);
  if (owed === 0) return;
  throw new ClusterError(
    "state_conflict",
    `${owed} of this node's results were not accepted within ${REST_MS_MAX / 1_000} s; see \`${session.typed("logs")}\`, and try again`,
  );
}

async function daemonForTheRest({ home, session, signal }: Leave): Promise<Daemon | undefined> {
  const { owedBy, startForTheRest } = await import("../compose/leaving.ts");
  const folders = foldersOf(home);
  if (isClaimed(folders.data) || owedBy(folders) === 0) return undefined;
  remark(session.terminal, "results of an earlier life are delivered first");
  return startForTheRest({ home, env: session.terminal.env, signal });
}

async function endOwn({ member, now }: Leave, own: Daemon): Promise<void> {
  if (now) {
    await member.leave("stop_now");
    await Promise.race([own.dismissed, pause(ORDER_AGAIN_MS, undefined, { ref: false })]);
  }
  await own.stop();
}

/** The coordinator passes the word on; where it does not arrive, a service is stopped by its manager. */
async function endOther({ home, member, now, service, signal, session }: Leave): Promise<void> {
  const { data } = foldersOf(home);
  const giveUpAt = performance.now() + END_MS_MAX;
  for (let orderAt = -Infinity; isClaimed(data) && performance.now() < giveUpAt; await pause(LOOK_MS, undefined, { signal })) {
    if (performance.now() < orderAt + ORDER_AGAIN_MS) continue;
    await member.leave(now ? "stop_now" : "stop");
    orderAt = performance.now();
  }
  if (isClaimed(data)) await service?.uninstall();
  if (!isClaimed(data)) return;
  throw new ClusterError(
    "already_running",
    `the daemon of ${home} still runs and does not hear its coordinator; end it (Ctrl-C where it runs), then: ${session.typed("leave")}`,
  );
}

function tooLong(left: Leaving, waitMs: number, session: Session): ClusterError {
  return new ClusterError(
    "state_conflict",
    `after ${waitMs / 1_000} s ${left.node} still has ${namesOf(left)}, and so it stays; wait longer with --wait, or hand them back: ${session.typed("leave --now")}`,
  );
}

function namesOf({ held, tasks }: Leaving): string {
  const more = held - tasks.length;
  return `${tasks.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
