/** The operations of the table (operations.ts) that say which machines can lead. */
import { z } from "zod";
import { NodeId } from "./ids.ts";
import { Node } from "./node.ts";
import type { Operation } from "./operation.ts";

const NodeParams = z.object({ id: NodeId });

export const CONTROL_OPERATIONS = {
  promoteNode: {
    method: "post",
    path: "/nodes/{id}/promote",
    scope: "admin",
    status: 202,
    summary: "Make the node a control node: its daemon begins anew as one, and then stands in the cluster's list of them",
    params: NodeParams,
    body: z.strictObject({ witness: z.literal(true).optional() }),
    reply: Node,
  },
  demoteNode: {
    method: "post",
    path: "/nodes/{id}/demote",
    scope: "admin",
    status: 202,
    summary: "Make a control node a worker again, or take one out that is gone for good",
    params: NodeParams,
    reply: Node,
  },
} as const satisfies Record<string, Operation>;
