/** Two ends of a connection on the loopback, as a node's line to whoever leads has them. */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

export interface LinePair {
  /** The node's, which has called. */
  readonly near: Socket;
  readonly far: Socket;
  end(): void;
}

export async function linePair(): Promise<LinePair> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const near = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [far] = (await once(server, "connection")) as [Socket];
  server.close();
  return {
    near,
    far,
    end() {
      near.destroy();
      far.destroy();
    },
  };
}
