/** One request over a socket of its own, written byte by byte as it is, and what comes back. Knows as much of HTTP as that takes. */
import { connect } from "node:net";

export interface Sent {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer | undefined;
}

export interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly text: string;
  /** It is a stream of events, which was left after its head. */
  readonly stream: boolean;
}

/** Nothing that is asked here takes so long; an answer that has not come by then counts as none. */
const PATIENCE_MS = 15_000;

export function exchange(port: number, { method, target, headers, body }: Sent): Promise<Answer> {
  const lines = [
    // What cannot stand in a request line would be another request.
    `${method} ${target.replaceAll(/[\r\n ]/g, "+")} HTTP/1.1`,
    `host: 127.0.0.1:${port}`,
    "connection: close",
    ...headers.map(([name, value]) => `${name}: ${value.replaceAll(/[\r\n]/g, " ")}`),
    ...(body === undefined ? [] : [`content-length: ${body.length}`]),
  ];
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let received = Buffer.alloc(0);
    const late = setTimeout(() => socket.destroy(new Error(`no answer to ${lines[0]} in ${PATIENCE_MS} ms`)), PATIENCE_MS);
    const finish = (answer: Answer): void => {
      resolve(answer);
      socket.destroy();
    };
    socket.on("data", (piece: Buffer) => {
      received = Buffer.concat([received, piece]);
      const answer = read(received, false);
      if (answer !== undefined) finish(answer);
    });
    // A reset after the answer is one way of ending a request that was not read to its end.
    let failure: Error | undefined;
    socket.on("error", (error) => (failure = error));
    socket.on("close", () => {
      clearTimeout(late);
      const answer = read(received, true);
      if (answer !== undefined) resolve(answer);
      else reject(new Error(`no answer to ${lines[0]}: ${failure?.message ?? "it was closed"}`));
    });
    socket.write(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), body ?? Buffer.alloc(0)]));
  });
}

/** The answer, once it is whole; `over`: nothing follows. */
function read(bytes: Buffer, over: boolean): Answer | undefined {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [first = "", ...lines] = bytes.subarray(0, end).toString("latin1").split("\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(`${first} `)?.[1] ?? 0);
  const rest = bytes.subarray(end + 4);
  // Go on: the answer follows.
  if (status === 100) return read(rest, over);
  const headers = new Map(lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
  if (headers.get("content-type") === "text/event-stream") return { status, headers, text: "", stream: true };
  const body = headers.get("transfer-encoding") === "chunked" ? unchunked(rest) : wholeOf(rest, headers.get("content-length"), over);
  return body === undefined ? undefined : { status, headers, text: body.toString("utf8"), stream: false };
}

function wholeOf(rest: Buffer, length: string | undefined, over: boolean): Buffer | undefined {
  if (length === undefined) return over ? rest : undefined;
  return rest.length >= Number(length) ? rest.subarray(0, Number(length)) : undefined;
}

function unchunked(rest: Buffer): Buffer | undefined {
  const pieces: Buffer[] = [];
  for (let at = 0; ;) {
    const lineEnd = rest.indexOf("\r\n", at);
    if (lineEnd < 0) return undefined;
    const size = Number.parseInt(rest.subarray(at, lineEnd).toString("latin1"), 16);
    const start = lineEnd + 2;
    if (rest.length < start + size + 2) return undefined;
    if (size === 0) return Buffer.concat(pieces);
    pieces.push(rest.subarray(start, start + size));
    at = start + size + 2;
  }
}
