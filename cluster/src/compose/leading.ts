/** Takes the lead over a store: the coordinator's own connection to the bus, and the coordinator. */
import { openEnvelopes } from "../bus/envelopes.ts";
import type { BusServer, Subscription } from "../bus/bus.ts";
import { connectNats } from "../bus/nats.ts";
import { Rations } from "../bus/rations.ts";
import { COORDINATOR } from "../bus/subjects.ts";
import type { LeadParts, StoreMover } from "../coordinator/lead-parts.ts";
import type { ControlRoom } from "../coordinator/control-room.ts";
import type { ControlWatch } from "../coordinator/control-view.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { openCoordinator } from "../coordinator/open.ts";
import type { Claim, Store } from "../store/store.ts";
import { failpoint } from "../system/failpoint.ts";
import { readSecret, writePrivateFile } from "../system/folders.ts";
import { askWhois } from "../system/tailscale-whois.ts";
import { Keyring } from "../trust/keyring.ts";
import { signer } from "../trust/signature.ts";
import { createToken, hashToken } from "../trust/token.ts";
import { VERSION, type Ground } from "./ground.ts";
import type { Shown } from "./stand.ts";

export interface LeadingParts {
  readonly store: Store;
  readonly claim?: Claim;
  readonly server: BusServer;
  readonly shown: Shown;
  readonly backups: string;
  busUrls(): readonly string[];
  /** The servers over which this coordinator itself speaks, its own first; only its own, unless said. */
  readonly bus?: { urls(): readonly string[]; copies(): number; onChange(listener: (urls: readonly string[]) => void): Subscription };
  readonly control?: ControlRoom;
  readonly former?: LeadParts["former"];
  readonly words?: LeadParts["words"];
  apiUrls(): readonly string[];
  /** Of all control nodes, this one's first. */
  controlUrls(): readonly string[];
  readonly controlView?: ControlWatch;
  readonly storeMover: StoreMover;
  readonly models?: LeadParts["models"];
  /** Does it lead still? Where it does not, it leaves without a word to the nodes, which are another's. */
  leads?(): boolean;
  /** It cannot go on leading. */
  broken(error: unknown): void;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export async function takeLead(ground: Ground, parts: LeadingParts, open: (() => Promise<void>)[]): Promise<Coordinator> {
  const { config, clock, log } = ground;
  const { store, claim, server, shown, backups } = parts;
  const { keys, authority } = shown;
  const keyring = new Keyring();
  const { urls = () => [server.url], copies = () => 1, onChange } = parts.bus ?? {};
  const bus = await connectNats({ ...asCoordinator(shown, urls(), keyring), replicas: copies, log, rations: new Rations(clock) });
  const following = onChange?.((now) => bus.reach(now));
  open.push(async () => {
    following?.stop();
    await bus.close();
  });
  const coordinator = await openCoordinator({
    name: config.clusterName,
    version: VERSION,
    self: config.nodeId,
    ...(config.roles.includes("worker") && { ownKeys: ground.keys.all().map(({ publicKey }) => publicKey) }),
    store,
    ...(claim !== undefined && { claim }),
    bus,
    busServer: server,
    keyring,
    coordinatorKey: keys.publicKey,
    sign: signer(keys.seed),
    authority,
    ...(parts.control !== undefined && { control: parts.control }),
    ...(parts.former !== undefined && { former: parts.former }),
    ...(parts.words !== undefined && { words: parts.words }),
    busUrls: () => parts.busUrls(),
    apiUrls: () => parts.apiUrls(),
    controlUrls: () => parts.controlUrls(),
    joiners: { logins: config.join.tailscaleLogin, whois: (peer) => askWhois({ env: ground.env, ...peer }) },
    ...(parts.controlView !== undefined && { controlView: parts.controlView }),
    storeMover: parts.storeMover,
    ...(parts.models !== undefined && { models: parts.models }),
    strategy: config.strategy,
    retentionMs: config.retention.days * DAY_MS,
    ...(config.retention.tasks > 0 && { retentionTasks: config.retention.tasks }),
    backups: { folder: backups, everyMs: config.backup.everyHours * HOUR_MS, keep: config.backup.keep },
    clock,
    random: Math.random,
    log,
    broken: (error) => parts.broken(error),
  });
  open.push(() => (parts.leads?.() === false ? coordinator.abandon() : coordinator.stop()));
  await ensureAdminToken(ground, coordinator);
  failpoint("start.leading");
  return coordinator;
}

/** How whoever speaks for the cluster comes onto the bus, its own server first. */
export function asCoordinator({ keys, trust }: Shown, urls: readonly string[], keyring: Keyring) {
  const { seed } = keys;
  const envelopes = openEnvelopes({ self: COORDINATOR, seed, keyOf: (party) => keyring.keyOf(party) });
  return { urls, prefersFirst: true, trust, seed, envelopes };
}

/** The local administrator's token: made at the first start, and again when its file or its record is gone. */
async function ensureAdminToken({ folders, clock }: Ground, coordinator: Coordinator): Promise<void> {
  const secret = await readSecret(folders.adminToken);
  if (secret !== undefined && coordinator.token(hashToken(secret)) !== undefined) return;
  const token = createToken();
  await coordinator.addToken({ id: token.id, hash: token.hash, scope: "admin", name: "admin", user: "admin", createdAt: clock.wall() });
  failpoint("start.token-committed");
  await writePrivateFile(folders.adminToken, `${token.token}\n`);
}
