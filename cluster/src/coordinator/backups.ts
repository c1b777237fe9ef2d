/**
 * Copies of the store, beside the work: when somebody asks, and by itself when the newest one is too old. Names and
 * places are the coordinator's own.
 *
 * B1. A copy under its name is whole; a coordinator that dies in the middle leaves a part, which its next life removes.
 * B2. Only copies beyond the newest `keep` go, after a new one is whole, and never those made before a change of layout.
 * B3. A copy is not begun when it would leave the disk too full to work on.
 */
import { mkdir, rm, statfs } from "node:fs/promises";
import path from "node:path";
import type { Backup } from "@openclaw-cluster/contract/cluster";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Store } from "../store/store.ts";
import { backupName, listBackups, removePartial, type BackupFile } from "../system/backup-files.ts";
import type { Clock, Timer } from "../system/clock.ts";
import { failpoint } from "../system/failpoint.ts";
import type { Log } from "../system/log.ts";

export interface BackupParts {
  readonly folder: string;
  /** The newest one is not to be older than this; 0: none are made by themselves. */
  readonly everyMs: number;
  readonly keep: number;
}

/** A start has better things to do than to read its whole database. */
const FIRST_LOOK_MS = 60_000;
const LOOK_MS = 60_000;
/** After one that failed. */
const AGAIN_MS = 900_000;
/** Left free for the database's own growth, its log and everything else. */
const SPARE_BYTES = 256 * 1024 ** 2;
/** So much older than it should be, and somebody should look. */
const LATE = 2;

export class Backups {
  private readonly parts: BackupParts & { readonly store: Store; readonly clock: Clock; readonly log: Log };
  private files: readonly BackupFile[] = [];
  private running: Promise<BackupFile> | undefined;
  private timer: Timer | undefined;
  private failure: string | undefined;
  /** By the monotonic clock: the wall's may be set back, and then every look would find the newest one too old. */
  private takenAtMs: number | undefined;
  private readonly startedAt: number;

  constructor(parts: BackupParts & { readonly store: Store; readonly clock: Clock; readonly log: Log }) {
    this.parts = parts;
    this.startedAt = parts.clock.wall();
  }

  async start(): Promise<void> {
    await removePartial(this.parts.folder);
    this.files = await listBackups(this.parts.folder);
    if (this.parts.everyMs > 0) this.lookIn(FIRST_LOOK_MS);
  }

  async stop(): Promise<void> {
    this.timer?.cancel();
    // Its failure was told to whoever asked for it.
    await this.running?.catch(() => undefined);
  }

  /** The newest that is there. */
  get newest(): { at: number; bytes: number } | undefined {
    const [file] = this.files;
    return file && { at: file.at, bytes: file.bytes };
  }

  async list(): Promise<Backup[]> {
    this.files = await listBackups(this.parts.folder);
    return this.files.map(toView);
  }

  /** storage_full, state_conflict while another is made. */
  async take(): Promise<Backup & { path: string }> {
    if (this.running !== undefined) throw new ClusterError("state_conflict", "A backup is being taken already.");
    this.running = this.copy();
    try {
      const file = await this.running;
      this.failure = undefined;
      return { ...toView(file), path: file.path };
    } catch (error) {
      this.failure = error instanceof ClusterError ? error.detail : String(error);
      throw error;
    } finally {
      this.running = undefined;
    }
  }

  /** What a person should know of them. */
  problem(): string | undefined {
    const { everyMs, clock } = this.parts;
    if (this.failure !== undefined) return `The last backup failed: ${this.failure}`;
    if (everyMs === 0) return undefined;
    const oldMs = clock.wall() - Math.max(this.files[0]?.at ?? 0, this.startedAt);
    return oldMs > LATE * everyMs ? `There is no backup of the last ${Math.floor(oldMs / 3_600_000)} hours.` : undefined;
  }

  private async copy(): Promise<BackupFile> {
    const { store, folder, clock, log } = this.parts;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await this.checkRoom();
    const at = clock.wall();
    const name = backupName(at);
    const begunMs = clock.monotonic();
    await store.backup(path.join(folder, name));
    this.takenAtMs = clock.monotonic();
    failpoint("backup.named");
    this.files = await listBackups(folder);
    const file = this.files.find((one) => one.name === name);
    if (file === undefined) throw new ClusterError("internal", `The backup ${name} is gone as soon as it was made.`);
    log.info({ file: file.path, bytes: file.bytes, ms: Math.round(this.takenAtMs - begunMs) }, "backup taken");
    await this.removeOld();
    return file;
  }

  private async removeOld(): Promise<void> {
    const old = this.files.filter(({ keepsLayout }) => keepsLayout === undefined).slice(this.parts.keep);
    for (const { path: file } of old) await rm(file, { force: true });
    this.files = this.files.filter((file) => !old.includes(file));
  }

  private async checkRoom(): Promise<void> {
    const { store, folder } = this.parts;
    const { bavail, bsize } = await statfs(folder);
    const needed = ((await store.bytes()) ?? 0) + SPARE_BYTES;
    if (bavail * bsize >= needed) return;
    const [free, wanted] = [bavail * bsize, needed].map((bytes) => Math.round(bytes / 1024 ** 2));
    throw new ClusterError("storage_full", `A backup needs ${wanted} MiB free in ${folder}, of which it leaves most; there are ${free}.`);
  }

  private lookIn(ms: number): void {
    this.timer = this.parts.clock.after(ms, () => {
      void this.look().then((nextMs) => this.lookIn(nextMs));
    });
  }

  /** Never rejects; gives when to look again. */
  private async look(): Promise<number> {
    if (!this.isDue() || this.running !== undefined) return LOOK_MS;
    try {
      await this.take();
      return LOOK_MS;
    } catch (error) {
      this.parts.log.error({ err: error }, "a backup failed; it is tried again");
      return AGAIN_MS;
    }
  }

  private isDue(): boolean {
    const { everyMs, clock } = this.parts;
    if (this.takenAtMs !== undefined) return clock.monotonic() - this.takenAtMs >= everyMs;
    const [newest] = this.files;
    const oldMs = clock.wall() - (newest?.at ?? 0);
    return oldMs >= everyMs || oldMs < 0;
  }
}

function toView({ name, at, bytes, keepsLayout }: BackupFile): Backup {
  return { name, at, bytes, ...(keepsLayout !== undefined && { keepsLayout }) };
}
