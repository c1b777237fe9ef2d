/**
 * The operations of the table (operations.ts) that want no token: their body itself proves who sent it, by a join code or by a
 * node's key.
 */
import { z } from "zod";
import { NodeId } from "./ids.ts";
import { JoinReply, JoinRequest, Session, SessionRequest } from "./join.ts";
import { LeaveRequest, Leaving, MEMBERSHIP, Probe, ProbeRequest, RotateRequest, Rotated } from "./membership.ts";

const NodeParams = z.object({ id: NodeId });

export const MEMBERSHIP_OPERATIONS = {
  join: {
    method: "post",
    path: "/join",
    scope: "proof",
    status: 200,
    summary: "Come into the cluster with a join code, which is proved and not sent",
    body: JoinRequest,
    reply: JoinReply,
  },
  session: {
    method: "post",
    path: "/nodes/{id}/session",
    scope: "proof",
    status: 200,
    summary: "Where a node finds the bus, and whether it may come in; signed by its key",
    params: NodeParams,
    body: SessionRequest,
    reply: Session,
  },
  probe: {
    method: "post",
    path: "/nodes/{id}/probe",
    scope: "proof",
    status: 200,
    takesMs: MEMBERSHIP.turnMsMax,
    summary: "Run a small task on the node that asks, and say how it ended; signed by its key",
    params: NodeParams,
    body: ProbeRequest,
    reply: Probe,
  },
  leave: {
    method: "post",
    path: "/nodes/{id}/leave",
    scope: "proof",
    status: 200,
    summary: "What a node wants that goes for good: no new work, its daemon's end, and to be taken out; signed by its key",
    params: NodeParams,
    body: LeaveRequest,
    reply: Leaving,
  },
  rotate: {
    method: "post",
    path: "/nodes/{id}/key",
    scope: "proof",
    status: 200,
    summary: "Take another key for the node that asks, signed by both",
    params: NodeParams,
    body: RotateRequest,
    reply: Rotated,
  },
} as const;
