/** What answers requests while this machine has one role: the operations over one coordinator, and who is turned away before them. */
import type { RequestListener } from "node:http";
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Coordinator } from "../coordinator/coordinator.ts";
import type { ModelSight } from "../models/models.ts";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { problem } from "./answers.ts";
import { openBodies } from "./body.ts";
import type { Surplus } from "./connections.ts";
import { openDoorkeeper } from "./doorkeeper.ts";
import type { Gate } from "./gate.ts";
import { mountRoutes } from "./routes.ts";
import { openStreams } from "./stream.ts";

export interface Front {
  readonly serve: RequestListener;
  /** Ends every stream. Requests that are under way are answered still. */
  close(): void;
}

export interface FrontParts {
  readonly coordinator: Coordinator;
  readonly gate: Gate;
  readonly surplus: Surplus;
  readonly log: Log;
  readonly clock: Clock;
  readonly sight?: () => ModelSight | undefined;
}

export function openFront({ coordinator, gate, surplus, log, clock, sight }: FrontParts): Front {
  const streams = openStreams(clock);
  const app = mountRoutes({ coordinator, gate, bodies: openBodies(), streams, clock, log, ...(sight !== undefined && { sight }) });
  const listener = getRequestListener((request, env) => app.fetch(request, env as HttpBindings), { errorHandler: malformed });
  const turnAway = openDoorkeeper({ coordinator, gate, surplus, clock });
  return {
    serve: (incoming, outgoing) => {
      if (!turnAway(incoming, outgoing)) void listener(incoming, outgoing);
    },
    close: () => streams.closeAll(),
  };
}

/** The adapter could not make a request of it: an impossible path or Host. */
function malformed(cause: unknown): Response {
  return problem(new ClusterError("bad_request", "This is not a request that can be served.", { cause }));
}
