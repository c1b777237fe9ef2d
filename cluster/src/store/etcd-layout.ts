/** Which layouts of a store in etcd this version knows: the first. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Entry } from "./etcd-client.ts";

/** What a newer version has written, an older one neither reads nor adds to. */
export function refuseLayout(layout: Entry | undefined): void {
  if (layout === undefined) return;
  throw new ClusterError(
    "store_unreadable",
    `The store in etcd has layout ${layout.value.toString()}, and this program knows the first: a newer version has written it. Start that one here too.`,
  );
}
