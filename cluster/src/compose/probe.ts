/**
 * How a node does in its cluster, by its own means: a task that only it may run, sent the whole way round, and what else a person
 * wants to know after a join. Nothing is changed, and no model is called unless `turn` says so.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { stateText } from "@openclaw-cluster/contract/node";
import type { Probe } from "@openclaw-cluster/contract/membership";
import { loadConfig } from "../system/config.ts";
import { foldersOf, type Environment } from "../system/folders.ts";
import { fail, ok, warn, type Check } from "./check.ts";
import { checkDisk } from "./check-places.ts";
import { checkOpenClaw, checkPolicy } from "./checks.ts";
import { VERSION } from "./ground.ts";
import type { Member } from "./member.ts";

/** Leases and time-outs bear more; but whoever compares times of two machines should know. */
const CLOCKS_APART_MS = 5_000;

export interface ProbeParts {
  readonly home: string;
  readonly env: Environment;
  readonly member: Member;
  /** A turn of this machine's agent as well, for which a model may have to be paid. */
  readonly turn: boolean;
}

export interface Probed {
  readonly checks: readonly Check[];
  /** The echo that ran here; `endedAtMs` by the clock of this process, which counts from its start. */
  readonly echo?: { readonly task: string; readonly ms: number; readonly endedAtMs: number };
}

export async function probeNode({ home, env, member, turn }: ProbeParts): Promise<Probed> {
  const config = await loadConfig({ home, env });
  const folders = foldersOf(home);
  const [echo, disk, openclaw] = await Promise.all([
    ask(member, "echo"),
    checkDisk(home, config.diskFloorMiB),
    config.openclaw.enabled === "auto" ? checkOpenClaw(config, env) : ok("OpenClaw", "not used here (openclaw.enabled is off)"),
  ]);
  const agent = turn ? [(await ask(member, "agent")).check] : [];
  const seen = echo.probe === undefined ? [] : [seenAs(echo.probe), checkVersions(echo.probe)];
  const checks = [checkWay(member, echo.probe), echo.check, ...agent, ...seen, checkClocks(member), checkPolicy(folders), openclaw, disk];
  const ran = echo.probe?.state === "succeeded";
  if (!ran || echo.probe === undefined) return { checks };
  return { checks, echo: { task: echo.probe.task, ms: Math.round(echo.ms), endedAtMs: Math.round(echo.endedAtMs) } };
}

interface Asked {
  readonly check: Check;
  readonly ms: number;
  readonly endedAtMs: number;
  readonly probe?: Probe;
}

async function ask(member: Member, kind: "echo" | "agent"): Promise<Asked> {
  const name = kind === "echo" ? "task" : "agent turn";
  const start = performance.now();
  try {
    const probe = await member.probe(kind);
    const endedAtMs = performance.now();
    const ms = endedAtMs - start;
    return { check: judge(name, kind, probe, ms), ms, endedAtMs, probe };
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    return { check: fail(name, `${error.detail} (${error.code})`, error.row.hint), ms: 0, endedAtMs: performance.now() };
  }
}

function judge(name: string, kind: string, { task, state, error, why }: Probe, ms: number): Check {
  if (state === "succeeded")
    return ok(name, `${task}, ${kind === "echo" ? "an echo" : "a turn"}, ran here, ${Math.round(ms)} ms from asking to the answer`);
  if (error?.code === "policy_denied")
    return warn(name, `${task} was refused here: ${error.message}`, "The way is open; allow it in policy.yaml if it should run.");
  if (error !== undefined)
    return fail(name, `${task} ended as ${state}: ${error.message} (${error.code})`, "See the daemon's log: openclaw-cluster logs");
  return fail(name, `${task} has not run here: ${why ?? state}`, "Does the daemon run? openclaw-cluster start");
}

function checkWay({ url, session }: Member, probe: Probe | undefined): Check {
  const name = probe === undefined ? session.cluster : `${probe.name} (${session.cluster})`;
  return ok("cluster", `${session.node} is a node of ${name}, at ${url}`);
}

function seenAs({ node }: Probe): Check {
  const what = `${stateText(node)}, ${node.slots} slots, ${node.facts?.policy.kinds.join(" ") || "no kind of task"}`;
  if (node.draining)
    return warn("seen as", what, `It gets no new work until somebody says on the coordinator: openclaw-cluster nodes resume ${node.id}`);
  return stateText(node) === "ready" ? ok("seen as", what) : warn("seen as", what, "See the daemon's log: openclaw-cluster logs");
}

function checkVersions({ version }: Probe): Check {
  if (version === VERSION) return ok("version", VERSION);
  return warn("version", `${VERSION}, and the coordinator ${version}`, "Upgrade all daemons of a cluster together.");
}

function checkClocks({ aheadMs }: Member): Check {
  const apart = Math.abs(Math.round(aheadMs));
  const found = `${apart < 10_000 ? `${apart} ms` : `${Math.round(apart / 1_000)} s`} from the coordinator's`;
  return apart <= CLOCKS_APART_MS ? ok("clock", found) : warn("clock", found, "Let both machines set their clocks by the network (NTP).");
}
