/** How much this process holds, once everything that can go has gone. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const MIB = 1024 * 1024;
/** What one collection lets go of another may reach. */
const COLLECTIONS = 3;

export async function heldMiB(): Promise<number> {
  for (let n = 0; n < COLLECTIONS; n += 1) {
    await new Promise((resolve) => void setImmediate(resolve));
    collect();
  }
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / MIB;
}
