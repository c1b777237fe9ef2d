/**
 * How much of the coordinator's disk each node may fill with its output and its large results.
 *
 * Every node has a share of its own, so that one which writes without end, broken or taken over, pushes out what it wrote
 * itself and nothing else. What all may take together is divided among those that are let in, in steps of twice as many: a
 * share that shrank with each node that joins would cut what the others have kept each time.
 */
const MIB = 1024 ** 2;
const OUTPUT_BYTES_ALL = 1024 * MIB;
const BLOB_BYTES_ALL = 2048 * MIB;
/** A handful of machines is what most clusters are; fewer do not get more. */
const SHARES_MIN = 4;
/** The output of two attempts that print as much as they may. */
const OUTPUT_BYTES_MIN = 16 * MIB;
/** The largest result, and what stands around its parts. */
const BLOB_BYTES_MIN = 80 * MIB;

export interface Share {
  readonly outputBytes: number;
  readonly blobBytes: number;
}

/** Of each, where so many nodes are let in. Up to 32 of them take 3.5 GiB at most, more of them 96 MiB each. */
export function shareOf(nodes: number): Share {
  const shares = 2 ** Math.ceil(Math.log2(Math.max(nodes, SHARES_MIN)));
  return {
    outputBytes: Math.max(OUTPUT_BYTES_MIN, OUTPUT_BYTES_ALL / shares),
    blobBytes: Math.max(BLOB_BYTES_MIN, BLOB_BYTES_ALL / shares),
  };
}
