/** What the roles of one daemon stand on. */
import type { Clock } from "../system/clock.ts";
import type { ClusterConfig } from "../system/config.ts";
import type { Environment, Folders } from "../system/folders.ts";
import type { Log } from "../system/log.ts";
import type { OwnKey } from "../trust/own-key.ts";

export const VERSION = "0.1.0";

export interface Ground {
  readonly config: ClusterConfig;
  readonly folders: Folders;
  readonly env: Environment;
  readonly cacheFolder: string;
  readonly clock: Clock;
  readonly log: Log;
  /** The key that was let in last; it may be exchanged while the daemon runs. */
  readonly keys: OwnKey;
  /** The start is given up. */
  readonly signal: AbortSignal;
  progress(text: string): void;
  fail(error: unknown): void;
  leave(): void;
  /** This machine is another in its cluster than it was, by its settings: the daemon closes in good order, and begins anew. */
  reopen(): void;
}
