/** Requests written by hand, header for header: what an HTTP client would put right, or never send, arrives as it is. */
import type { Socket } from "node:net";

export interface RawAnswer {
  readonly status: number;
  /** Status line and headers, in lower case. */
  readonly head: string;
  readonly body: string;
}

/**
 * Sends it, and gives the answer as soon as it is whole; of a stream, which has no length, what came with its headers. The
 * connection is ended after it.
 */
export function rawAsk(socket: Socket, lines: readonly string[], body = ""): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    let text = "";
    const settle = (over: boolean): void => {
      const answer = parse(text, over);
      if (answer === undefined) return;
      socket.destroy();
      resolve(answer);
    };
    socket.setEncoding("latin1");
    socket.on("data", (piece) => {
      text += String(piece);
      settle(false);
    });
    socket.on("close", () => {
      settle(true);
      reject(new Error(`closed without an answer to ${lines[0]}`));
    });
    socket.write(`${lines.join("\r\n")}\r\n\r\n${body}`);
  });
}

function parse(text: string, over: boolean): RawAnswer | undefined {
  const end = text.indexOf("\r\n\r\n");
  if (end === -1) return undefined;
  const head = text.slice(0, end).toLowerCase();
  const body = text.slice(end + 4);
  const length = /\r\ncontent-length: (\d+)/.exec(head)?.[1];
  if (!over && length !== undefined && body.length < Number(length)) return undefined;
  return { status: Number(/^http\/1\.1 (\d{3}) /.exec(head)?.[1]), head, body };
}
