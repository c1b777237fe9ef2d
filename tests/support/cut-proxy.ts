/** A TCP proxy whose connections a test can cut, and whose answers it can swallow. */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

export interface CutProxy {
  readonly port: number;
  /** Where connections lead; set it before the first one. */
  target: number;
  /** Connections that stand now. */
  readonly open: number;
  /** So many connections are cut at the next byte of an answer: the request arrived, the answer does not. */
  swallow: number;
  cutAll(): void;
  close(): Promise<void>;
}

export async function openCutProxy(): Promise<CutProxy> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(proxy.target, "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on("data", (bytes) => {
        if (from === near || proxy.swallow === 0) {
          to.write(bytes);
          return;
        }
        proxy.swallow -= 1;
        near.destroy();
      });
      from.on("end", () => to.end());
      from.on("error", () => to.destroy());
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const proxy = {
    port: (server.address() as AddressInfo).port,
    target: 0,
    swallow: 0,
    get open() {
      return sockets.size / 2;
    },
    cutAll() {
      for (const socket of sockets) socket.destroy();
    },
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      proxy.cutAll();
      return closed;
    },
  };
  return proxy;
}
