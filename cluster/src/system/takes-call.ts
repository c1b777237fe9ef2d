/** Does a server take a call there at the moment? Nothing is said to it. */
import { connect } from "node:net";

/** `url`: of any scheme, with its port. Resolves within `limitMs`; never rejects. */
export function takesCall(url: string, limitMs: number): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname.replaceAll(/^\[|\]$/g, ""), port: Number(port) });
    const end = (did: boolean): void => {
      socket.destroy();
      resolve(did);
    };
    socket.setTimeout(limitMs, () => end(false));
    socket.on("connect", () => end(true)).on("error", () => end(false));
  });
}
