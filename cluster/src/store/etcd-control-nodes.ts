/** The list of control nodes that are up, in etcd: a key of each, which hangs on a lease of its own. */
import { z } from "zod";
import { aborted, pause } from "../system/pause.ts";
import { ADDRESSES_MAX, PRESENCE_S, type ControlNode, type ControlNodes } from "./control-nodes.ts";
import { FollowedFolder } from "./etcd-folder.ts";
import { EtcdLease, type LeaseParts } from "./etcd-lease.ts";

const RETRY_MS = 500;
const Urls = z.array(z.string().max(2_048)).max(ADDRESSES_MAX);
const Value = z.object({
  node: z.string().max(64),
  publicKey: z.string().max(128).optional(),
  version: z.string().max(64),
  apiUrls: Urls,
  busUrls: Urls,
  witness: z.literal(true).optional(),
});

/** `self` is asked each time that it is announced anew. */
export interface ControlNodesParts extends LeaseParts {
  readonly prefix: string;
  self(): ControlNode;
}

export function openEtcdControlNodes(parts: ControlNodesParts): ControlNodes {
  const { client, prefix, clock, log } = parts;
  const folder = `${prefix}control/`;
  const closed = new AbortController();
  const list = new FollowedFolder({ client, folder, parse: parseControlNode, clock, log });
  const announcing = announce(parts, folder, closed.signal);
  return {
    get all() {
      return list.all;
    },
    onChange: (listener) => list.onChange(listener),
    async close() {
      closed.abort();
      await Promise.all([announcing, list.close()]);
    },
  };
}

/** undefined: not understood. */
export function parseControlNode(json: unknown): ControlNode | undefined {
  return Value.safeParse(json).data as ControlNode | undefined;
}

async function announce(parts: ControlNodesParts, folder: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await announceOnce(parts, folder, signal).catch((error: unknown) => {
      if (!signal.aborted) parts.log.debug({ err: error }, "this control node cannot tell the others of itself at the moment");
    });
    await pause(parts.clock, RETRY_MS, signal);
  }
}

/** Ends with the lease that it is announced by. */
async function announceOnce(parts: ControlNodesParts, folder: string, signal: AbortSignal): Promise<void> {
  const lease = await EtcdLease.open(parts, PRESENCE_S);
  try {
    const value = Value.parse(parts.self());
    await parts.client.transact({ when: [], then: [{ put: folder + value.node, value: JSON.stringify(value), lease: lease.id }] });
    await aborted(AbortSignal.any([lease.over, signal]));
  } finally {
    await lease.revoke();
  }
}
