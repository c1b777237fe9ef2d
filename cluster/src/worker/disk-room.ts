/**
 * Whether this machine's disk has room for work. Where it has none, the node takes itself out of work: its heartbeats say
 * so, new offers are refused, and it goes on by itself. What runs goes on, and ends as well as it can.
 *
 * D1. Full is: less is free than the floor, or a write found no room, whatever is free (a quota, no inodes).
 * D2. Room again is: some more than the floor is free, and after such a write that a file can be written. So a disk at
 *     its floor does not take the node out and in with every heartbeat.
 */
import { rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { diskFullText, type NodeLoad } from "@openclaw-cluster/contract/node";
import type { Log } from "../system/log.ts";
import type { MachineLoad } from "./load.ts";

/** Of the floor. */
const AGAIN = 1.25;
/** More than the spool writes at a time. */
const PROBE_BYTES = 1024 * 1024;

export type JudgedLoad = MachineLoad & Pick<NodeLoad, "diskFull">;

export interface DiskRoomParts {
  /** The worker's: its spool and the folders of its attempts. */
  readonly folder: string;
  /** 0: only a write that fails tells. */
  readonly floorMiB: number;
  readonly log: Log;
  changed(isFull: boolean): void;
}

export class DiskRoom {
  private readonly parts: DiskRoomParts;
  private full: NodeLoad["diskFull"];
  /** A write found no room, and none has found some since. */
  private mustProve = false;

  constructor(parts: DiskRoomParts) {
    this.parts = parts;
  }

  get isFull(): boolean {
    return this.full !== undefined;
  }

  /** A write found no room. */
  missed(): void {
    this.mustProve = true;
    if (this.full === undefined) this.become("write", "disk full: a write found no room");
  }

  /** The load as it was just measured, with the verdict. */
  async judge(load: MachineLoad): Promise<JudgedLoad> {
    const diskFull = await this.verdict(load.diskFreeMiB);
    const judged = diskFull === undefined ? load : { ...load, diskFull };
    if (diskFull !== this.full) this.become(diskFull, diskFullText({ ...judged, running: 0, held: 0 }));
    return judged;
  }

  private async verdict(freeMiB: number): Promise<NodeLoad["diskFull"]> {
    const { floorMiB } = this.parts;
    if (freeMiB < (this.full === undefined ? floorMiB : floorMiB * AGAIN)) return "floor";
    if (this.mustProve) this.mustProve = !(await this.canWrite());
    return this.mustProve ? "write" : undefined;
  }

  private async canWrite(): Promise<boolean> {
    const { folder, log } = this.parts;
    const file = path.join(folder, "room.probe");
    const not = (error: unknown): false => (log.debug({ err: error }, "there is still no room on the disk"), false);
    const written = await writeFile(file, Buffer.alloc(PROBE_BYTES), { mode: 0o600, flush: true }).then(() => true, not);
    return rm(file, { force: true }).then(() => written, not);
  }

  private become(full: NodeLoad["diskFull"], text: string | undefined): void {
    const { log, changed } = this.parts;
    const was = this.isFull;
    this.full = full;
    if (this.isFull === was) return;
    if (this.isFull) log.warn({ floorMiB: this.parts.floorMiB }, `${text}; no new work is taken until there is room`);
    else log.info("the disk has room again; new work is taken");
    changed(this.isFull);
  }
}

/** Is it what a full disk, a spent quota or a lack of inodes makes of a call to the file system? */
export function isNoRoom(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOSPC" || code === "EDQUOT";
}
