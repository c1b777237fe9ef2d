/**
 * A way to a coordinator's API that keeps every byte of its answers, headers and streams included, and nothing of what was
 * asked: questions carry the token, answers must not.
 */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

export interface AnswerRecorder {
  /** As it must stand in the Host header, and so on the coordinator's list of hosts. */
  readonly host: string;
  readonly url: string;
  /** The API's own port; before the first question. */
  target: number;
  readonly answers: Buffer;
  close(): Promise<void>;
}

export async function openAnswerRecorder(): Promise<AnswerRecorder> {
  const pieces: Buffer[] = [];
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  };
  const server = createServer((near) => {
    const far = connect({ host: "127.0.0.1", port: recorder.target });
    keep(near);
    keep(far);
    far.on("data", (piece: Buffer) => pieces.push(piece));
    // Whatever becomes of one end becomes of the other: a coordinator that is killed looks so from here, too.
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const recorder: AnswerRecorder = {
    host,
    url: `http://${host}`,
    target: 0,
    get answers() {
      return Buffer.concat(pieces);
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return recorder;
}
