/** High availability as a person reads it. */
import type { BusServer, ClusterView, ControlNode, StoreMember } from "@openclaw-cluster/contract/cluster";
import type { Session } from "./session.ts";
import { facts, table } from "./table.ts";
import { plainLine, type Style, type Terminal } from "./terminal.ts";
import { duration, mebibytes } from "./time.ts";

type Shown = Pick<Session, "terminal" | "typed">;

const NODE_STYLES: Record<ControlNode["state"], Style> = { leader: "green", standby: "green", witness: "green", away: "red" };
const MEMBER_STYLES: Record<StoreMember["state"], Style> = { leader: "green", follower: "green", learner: "yellow", away: "red" };
/** So many see to it that one may die. */
const CONTROL_NODES = 3;

export function clusterText(session: Shown, view: ClusterView, now: number): string {
  const { terminal } = session;
  const { control = [], store, bus } = view;
  const parts = [
    head(terminal, view, now),
    control.length === 0 ? "" : nodeTable(terminal, control),
    store.members === undefined ? "" : memberTable(terminal, store.members),
    bus.servers === undefined ? "" : serverTable(terminal, bus.servers),
    advice(session, view),
  ];
  return parts.filter((part) => part !== "").join("\n");
}

/** For `status`. */
export function controlLine({ control }: ClusterView): string {
  if (control === undefined) return "1 node, nothing switches over when it dies";
  const called = (state: ControlNode["state"]): string[] => control.filter((one) => one.state === state).map(({ node }) => node);
  const [leader] = called("leader");
  const told = (["standby", "witness", "away"] as const).flatMap((state) => {
    const names = called(state);
    return names.length === 0 ? [] : [`${names.join(", ")} ${VERBS[state][names.length === 1 ? 0 : 1]}`];
  });
  return [`${nodes(control.length)}: ${leader === undefined ? "nobody leads" : `${leader} leads`}`, ...told].join("; ");
}

const VERBS = { standby: ["stands by", "stand by"], witness: ["is a witness", "are witnesses"], away: ["is away", "are away"] } as const;

const nodes = (count: number): string => (count === 1 ? "1 node" : `${count} nodes`);

function head(
  terminal: Terminal,
  { id, name, coordinator, epoch, startedAt, standsBy, control, store, bus }: ClusterView,
  now: number,
): string {
  const leader = control === undefined ? coordinator : control.find(({ state }) => state === "leader")?.node;
  const since = standsBy === undefined ? `, for ${duration(now - startedAt)}` : "";
  return facts(terminal, [
    ["cluster", `${plainLine(name)} (${id})`],
    ["leader", leader === undefined ? `nobody; the last term was ${epoch}` : `${leader}, term ${epoch}${since}`],
    [
      "answered by",
      standsBy && `${coordinator}, which stands by${standsBy.staleMs === 0 ? "" : `; as of ${duration(standsBy.staleMs)} ago`}`,
    ],
    ["store", store.kind + (store.bytes === undefined ? "" : `, ${mebibytes(store.bytes / 1_048_576)}`)],
    ["bus", busText(bus)],
  ]);
}

function busText({ mode, servers, version }: ClusterView["bus"]): string {
  if (mode === "cluster") return `a cluster of nats-servers, ${servers?.length ?? 0} answer`;
  return `one nats-server${version === undefined ? "" : `, ${plainLine(version)}`}`;
}

function nodeTable(terminal: Terminal, control: readonly ControlNode[]): string {
  return table(terminal, control, [
    { title: "CONTROL NODE", value: ({ node }) => node },
    { title: "STATE", value: ({ state }) => state, style: ({ state }) => NODE_STYLES[state] },
    { title: "TERM", value: ({ epoch }) => (epoch === undefined ? undefined : String(epoch)), right: true },
    { title: "BEHIND", value: ({ lagMs }) => (lagMs === undefined ? "-" : duration(lagMs)), right: true },
    { title: "VERSION", value: ({ version }) => version },
    { title: "API", value: ({ urls }) => urls[0], cut: true },
  ]);
}

function memberTable(terminal: Terminal, members: readonly StoreMember[]): string {
  return table(terminal, members, [
    { title: "ETCD MEMBER", value: ({ name, id }) => name || id },
    { title: "STATE", value: ({ state }) => state, style: ({ state }) => MEMBER_STYLES[state] },
    { title: "RAFT TERM", value: ({ term }) => (term === undefined ? undefined : String(term)), right: true },
    { title: "SIZE", value: ({ bytes }) => (bytes === undefined ? undefined : mebibytes(bytes / 1_048_576)), right: true },
    { title: "VERSION", value: ({ version }) => version },
    { title: "AT", value: ({ urls }) => urls[0], cut: true },
  ]);
}

function serverTable(terminal: Terminal, servers: readonly BusServer[]): string {
  return table(terminal, servers, [
    { title: "NATS-SERVER", value: ({ name }) => name },
    { title: "CONNECTIONS", value: ({ connections }) => String(connections), right: true },
    { title: "ROUTES TO", value: ({ routes }) => routes.join(", ") },
    { title: "VERSION", value: ({ version }) => version },
  ]);
}

/** What a death would cost, and what to do about it. */
function advice({ typed }: Shown, { control, store }: ClusterView): string {
  if (control === undefined)
    return (
      `There is one control node; nothing switches over when it dies. Then no task is lost, and none is taken until its daemon runs again.\n` +
      `If its disk may die too, keep backups on another one: ${typed("config set backup.folder <folder>")}; \`restore\` brings one back.\n` +
      `With three control nodes on etcd another one takes over by itself: docs/high-availability.md.\n`
    );
  const here = control.filter(({ state }) => state === "leader" || state === "standby").length;
  if (here === 1) return "There is one control node that can lead; nothing switches over when it dies.\n";
  const voters = store.members?.filter(({ state }) => state !== "learner").length ?? CONTROL_NODES;
  if (voters >= CONTROL_NODES) return "";
  return `The store has ${voters === 1 ? "one etcd member; it stands still when it dies" : `${voters} etcd members; it stands still when one dies`}.\n`;
}
