/**
 * How far each control node is with what the leader writes, by its own word. It stays when the control node dies, so that somebody
 * misses it; the list of those that are there is control-nodes.ts's.
 */
export interface Progress {
  readonly node: string;
  readonly version: string;
  /** Where its API is, or was, likeliest first. */
  readonly apiUrls: readonly string[];
  readonly witness?: true;
  /** The newest that it has heard of. */
  readonly epoch: number;
  /** The last one of the store's log that it has applied. */
  readonly entry: number;
}

/** Said at most this often, and only when it has changed. */
export const PROGRESS_MS = 1_000;

export interface ControlProgress {
  /** As last heard, by node, this one included. */
  readonly all: readonly Progress[];
  /** Called with each word of a control node as it is heard. */
  onProgress(listener: (progress: Progress) => void): { stop(): void };
  /** It is a control node no more, and nobody misses it. */
  forget(node: string): Promise<void>;
  close(): Promise<void>;
}
