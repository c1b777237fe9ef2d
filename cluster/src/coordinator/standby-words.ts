/** Where the words of control nodes that stand by lie (standby-word.ts, word-watch.ts): in the store that they share. */
import type { StandbyWord } from "../core/word-book.ts";

/** Whose term it is. */
export interface WordTerm {
  readonly epoch: number;
  readonly leader?: { readonly node: string; readonly heedsWords?: true };
}

/** Where the words of all control nodes lie. Calls reject where no quorum answers within a second or so. */
export interface StandbyWords {
  /** Does one lie there? Asked before the first is written: it is of an earlier life. */
  left(node: string): Promise<boolean>;
  /** Resolves with whose term it was when it was taken. */
  write(word: Omit<StandbyWord, "epoch">): Promise<WordTerm>;
  /** All of them, by a quorum's word. */
  read(): Promise<readonly StandbyWord[]>;
  /** Nothing of what it has said lasts, and it says nothing more. */
  remove(node: string): Promise<void>;
}
