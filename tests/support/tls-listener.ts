/** A TLS server of a test's own, which notes every byte that comes out of its handshakes: what a man in the middle would hear. */
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { createServer, type TLSSocket } from "node:tls";

export interface TlsListener {
  readonly port: number;
  /** Connections that were made, whatever became of them. */
  readonly connections: number;
  /** All that was said in them, deciphered, once their other ends have closed them. */
  heard(): Promise<string>;
  close(): Promise<void>;
}

export async function openTlsListener({
  cert,
  key,
  host = "127.0.0.1",
}: {
  cert: string;
  key: string;
  host?: string;
}): Promise<TlsListener> {
  let heard = "";
  let connections = 0;
  const open = new Set<TLSSocket>();
  const server = createServer({ cert, key }, (socket) => {
    open.add(socket);
    socket.on("data", (piece: Buffer) => (heard += piece.toString("latin1")));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => open.delete(socket));
  });
  const ends: Promise<unknown>[] = [];
  server.on("connection", (socket: Socket) => {
    connections += 1;
    ends.push(new Promise((resolve) => socket.once("close", resolve)));
  });
  // A client that refuses what it is shown ends the handshake, which is an error here.
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  server.listen(0, host);
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    async heard() {
      await Promise.all(ends);
      return heard;
    },
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
