/**
 * A node's key while it is exchanged for another one. Two files: in `node.seed` lies the key that the cluster was last known to
 * take, in `node.seed.next` one that it was, or will be, asked to take instead. Which of them counts only the cluster knows.
 *
 * R1. The next key is on disk before anybody is asked to take it, and stays there until somebody was let in with it. So whatever
 *     dies in between, one of the two files opens the door.
 * R2. The files are read anew for each try: another process of this machine may have exchanged them. A key that is refused says
 *     nothing while there is another one that was not tried, one that has just come included.
 */
import { existsSync, renameSync } from "node:fs";
import { dirname } from "node:path";
import { syncFolder } from "../system/synced-folder.ts";
import { loadNodeKeys, readNodeKeys, type NodeKeys } from "./keys.ts";

export class OwnKey implements NodeKeys {
  private readonly file: string;
  private keys: NodeKeys;
  private tried: NodeKeys | undefined;
  private refused = 0;

  private constructor(file: string, keys: NodeKeys) {
    this.file = file;
    this.keys = keys;
  }

  /** Makes the key at the first call. */
  static async open(file: string): Promise<OwnKey> {
    return new OwnKey(file, await loadNodeKeys(file));
  }

  /** Of the key that was let in last. */
  get publicKey(): string {
    return this.keys.publicKey;
  }

  get seed(): Uint8Array {
    return this.keys.seed;
  }

  /** Likeliest first. */
  all(): NodeKeys[] {
    const kept = readNodeKeys(this.file) ?? this.keys;
    const next = this.waiting();
    return next === undefined || next.publicKey === kept.publicKey ? [kept] : [kept, next];
  }

  /** The key to be taken next; made, and on disk, when this resolves. The same one until it was let in. */
  next(): Promise<NodeKeys> {
    return loadNodeKeys(nextFile(this.file));
  }

  /** Somebody was let in with it: it counts from now on. */
  settle(keys: NodeKeys): void {
    this.keys = keys;
    if (this.waiting()?.publicKey !== keys.publicKey) return;
    try {
      renameSync(nextFile(this.file), this.file);
    } catch (error) {
      // Another process of this machine was faster, with the same key.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    syncFolder(dirname(this.file));
  }

  /** What `attempt` gives with the key that is let in, which counts from then on. Throws what the last one threw, or whatever is no refusal. */
  async withEach<T>(attempt: (keys: NodeKeys) => Promise<T>, isRefusal: (error: unknown) => boolean): Promise<T> {
    const tried = new Set<string>();
    for (let refusal: unknown; ;) {
      const keys = this.all().find(({ publicKey }) => !tried.has(publicKey));
      if (keys === undefined) throw refusal;
      tried.add(keys.publicKey);
      try {
        const found = await attempt(keys);
        this.settle(keys);
        return found;
      } catch (error) {
        if (!isRefusal(error)) throw error;
        refusal = error;
      }
    }
  }

  /** For one try to connect: one key after the other, until one is let in. */
  forAttempt(): Uint8Array {
    const all = this.readable();
    const tried = all[this.refused % all.length] ?? this.keys;
    this.refused += 1;
    this.tried = tried;
    return tried.seed;
  }

  /** The last try succeeded. */
  letIn(): void {
    this.refused = 0;
    if (this.tried !== undefined) this.settle(this.tried);
  }

  /** In the midst of a handshake a file that cannot be read is no reason to fall: what it held is still known. */
  private readable(): NodeKeys[] {
    try {
      return this.all();
    } catch {
      return [this.keys];
    }
  }

  private waiting(): NodeKeys | undefined {
    return existsSync(nextFile(this.file)) ? readNodeKeys(nextFile(this.file)) : undefined;
  }
}

export const nextFile = (seedFile: string): string => `${seedFile}.next`;
