/** A bug that is planted to see whether the checker finds it (plants.ts). */
export interface Plant {
  readonly name: string;
  /** What the checker must find; any of them. */
  readonly breaks: readonly string[];
  /** Below cluster/src. */
  readonly file: string;
  readonly find: string;
  readonly put: string;
  /** The first world to look at, where a shy one shows itself late among the first. */
  readonly from?: number;
  /** It shows itself where machines come and go. */
  readonly members?: true;
  /** It shows itself where control nodes contend. */
  readonly contend?: true;
  /** It shows itself where they are cut off together with machines. */
  readonly islands?: true;
}
