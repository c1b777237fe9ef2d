/**
 * What of a control node stays while its store is another one, or another machine leads: where it listens, its certificates,
 * nats-server, the API.
 */
import type { Api, Role } from "../api/api.ts";
import type { ChangingServer, NatsMembership } from "../bus/nats-changing-server.ts";
import type { Ground } from "./ground.ts";
import { copyIdentity } from "./identity.ts";
import { apiUrlsAt, showApi } from "./lead-api.ts";
import { findListeningPlace, type ListeningPlace } from "./listening-place.ts";
import { backupFolder } from "./restore.ts";
import { openCertificates, openNatsServer, urlsAt, type Shown } from "./stand.ts";

export class ControlStand {
  readonly place: ListeningPlace;
  readonly shown: Shown;
  readonly backups: string;
  /** Filled when the API listens. */
  readonly apiUrls: string[] = [];
  /** Who answers now. */
  role: Role | undefined;
  private readonly ground: Ground;
  private readonly closing: (() => Promise<void>)[] = [];
  private running: ChangingServer | undefined;
  private api: Api | undefined;

  static async open(ground: Ground): Promise<ControlStand> {
    const { config, folders } = ground;
    const place = await findListeningPlace({ ...ground, host: config.api.host });
    const shown = await openCertificates(ground, place);
    const backups = backupFolder(config, folders);
    await copyIdentity(folders, backups);
    return new ControlStand(ground, place, shown, backups);
  }

  private constructor(ground: Ground, place: ListeningPlace, shown: Shown, backups: string) {
    [this.ground, this.place, this.shown, this.backups] = [ground, place, shown, backups];
  }

  /** The nats-server: started, or left as it is. */
  async serve(membership?: NatsMembership): Promise<ChangingServer> {
    this.running ??= await openNatsServer(this.ground, this.place, this.shown, membership);
    return this.running;
  }

  get server(): ChangingServer {
    if (this.running === undefined) throw new Error("nats-server was not started yet");
    return this.running;
  }

  /** Where others reach it. */
  get busUrls(): string[] {
    return urlsAt(this.place, this.server.url);
  }

  get apiUrl(): string {
    if (this.api === undefined) throw new Error("the API was not opened yet");
    return this.api.url;
  }

  /** Who answers from now on; the API listens already. */
  takeRole(role: Role): void {
    this.role = role;
    this.api?.takeRole(role);
  }

  /** The same; the API listens from the first one on. */
  async show(role: Role): Promise<void> {
    if (this.api !== undefined) return this.takeRole(role);
    this.role = role;
    const { place, shown, server, closing } = this;
    this.api = await showApi(this.ground, { place, shown, server, role }, closing);
    this.apiUrls.push(...apiUrlsAt(place, this.api));
  }

  /** What is under way is answered; nothing new is taken. */
  async hide(): Promise<void> {
    for (let close = this.closing.pop(); close !== undefined; close = this.closing.pop()) await close();
  }

  async close(): Promise<void> {
    await this.hide();
    await this.running?.stop();
  }
}
