/**
 * Holds a command to its limits on memory and processes where no control group does: looks at its tree several times a
 * second and ends it when it takes too much. What grows faster goes over the limit until the next look.
 */
import { setTimeout as pause } from "node:timers/promises";
import { endTree, weighTree, type Tree } from "./process-tree.ts";

export interface TreeWatch {
  readonly breach: "memoryMiB" | "processes" | undefined;
  stop(): void;
}

const LOOK_MS = 250;

/** Linux only. */
export function watchTree(tree: Tree, limits: { readonly memoryMiB: number; readonly processes: number }): TreeWatch {
  const stopped = new AbortController();
  let breach: TreeWatch["breach"];
  const watch = async (): Promise<void> => {
    while (breach === undefined) {
      await pause(LOOK_MS, undefined, { ref: false, signal: stopped.signal });
      const { processes, memoryMiB } = await weighTree(tree);
      if (memoryMiB > limits.memoryMiB) breach = "memoryMiB";
      else if (processes > limits.processes) breach = "processes";
    }
    // Its end ends the attempt, which looks for what is left.
    await endTree(tree, 0);
  };
  watch().catch((error: unknown) => {
    if (!stopped.signal.aborted) throw error;
  });
  return {
    get breach() {
      return breach;
    },
    stop: () => stopped.abort(),
  };
}
