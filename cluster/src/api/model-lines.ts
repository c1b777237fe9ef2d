/**
 * Where nodes open their lines for models: an HTTP request that becomes a connection (Upgrade), proved as a session is.
 *
 * U1. Nothing becomes a connection but for a node that the cluster has let in; wrong proofs count as everywhere.
 * U2. Who has gone away by the time at which its proof is found good gets no line: it may have another one by then, whose place it would take.
 * U3. The answer carries the coordinator's own proof, so that the node knows whose line it is.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { SessionRequest } from "@openclaw-cluster/contract/join";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { LINE_PROOF, LINE_SESSION, LINE_UPGRADE, packed, unpacked, type LineWay, type ModelDesk } from "../models/models.ts";
import type { Log } from "../system/log.ts";
import { asClusterError, problemText } from "./answers.ts";
import type { Gate } from "./gate.ts";

const FORM = /^\/api\/v1\/nodes\/([^/]+)\/models\/(lend|ask)$/;
const CRLF = "\r\n";
/** HTTP/2 begins with some dozen. */
const EARLY_BYTES_MAX = 4_096;

export interface LineParts {
  /** Absent where this machine does not lead. */
  readonly desk: ModelDesk | undefined;
  readonly coordinator: Pick<Coordinator, "session">;
  readonly gate: Gate;
  readonly log: Log;
}

/** Others are requests like any other, whose offer is not taken (B3 in origin.ts). */
export const isLineRequest = ({ headers, url = "" }: IncomingMessage): boolean => headers.upgrade === LINE_UPGRADE && FORM.test(url);

export async function openLine(parts: LineParts, incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
  // Until it is a line nobody else listens.
  socket.on("error", () => undefined);
  const early = hold(socket, head);
  try {
    const { desk, coordinator, gate } = parts;
    if (desk === undefined) throw new ClusterError("unavailable", "This machine does not lead; ask another control node.");
    const [, name, way] = FORM.exec(incoming.url ?? "") as unknown as [string, string, LineWay];
    const node = NodeId.parse(name);
    const question = SessionRequest.parse(unpacked(incoming.headers[LINE_PROOF]));
    const session = await gate.prove(incoming, (judge) => judge((proven) => coordinator.session(node, question, proven)));
    if (session.state !== "approved") throw new ClusterError("unavailable", `${node} waits to be let in.`);
    if (socket.destroyed) return;
    const lines = [
      "HTTP/1.1 101 Switching Protocols",
      "connection: Upgrade",
      `upgrade: ${LINE_UPGRADE}`,
      `${LINE_SESSION}: ${packed(session)}`,
    ];
    // Node 26.10 dies where HTTP/2 takes over a TLS socket that has a write under way.
    await new Promise((resolve) => socket.write(`${lines.join(CRLF)}${CRLF}${CRLF}`, resolve));
    await new Promise(setImmediate);
    if (socket.destroyed) return;
    early.giveBack();
    desk.attach(node, way, socket);
  } catch (thrown) {
    refuse(socket, thrown, parts.log);
  }
}

/** U2: an end is only noticed by who reads. Nothing is said before the answer; what is, is kept for the line, up to a limit. */
function hold(socket: Duplex, head: Buffer): { giveBack(): void } {
  const said = [head];
  let bytes = head.length;
  const hear = (piece: Buffer): void => {
    said.push(piece);
    bytes += piece.length;
    if (bytes > EARLY_BYTES_MAX) socket.destroy();
  };
  const leave = (): void => void socket.destroy();
  socket.on("data", hear).on("end", leave);
  return {
    giveBack() {
      socket.off("data", hear).off("end", leave).pause();
      if (bytes > 0) socket.unshift(Buffer.concat(said));
    },
  };
}

function refuse(socket: Duplex, thrown: unknown, log: Log): void {
  const isMalformed = !(thrown instanceof ClusterError) && thrown instanceof Error && thrown.name === "ZodError";
  const error = isMalformed ? new ClusterError("bad_request", "This is no proof of a node.") : asClusterError(thrown, log);
  const body = problemText(error);
  const lines = [
    `HTTP/1.1 ${error.row.status} ${error.code}`,
    "content-type: application/problem+json",
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${[...lines, "connection: close"].join(CRLF)}${CRLF}${CRLF}${body}`, () => socket.destroy());
}
