/** Takes an answer of HTTP/1.1 apart while its bytes come: its head, then its body without the frames of its chunks. */

export interface Head {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
}

const HEAD_END = "\r\n\r\n";
const NONE = Buffer.alloc(0);

export class AnswerReading {
  head: Head | undefined;
  /** All of it is here, by its own word: its length, or its last chunk. */
  whole = false;
  private rest: Buffer = NONE;
  /** Of a body with a length: what is still to come. */
  private missing = Number.POSITIVE_INFINITY;
  private chunked = false;

  /** What of the body comes with this piece. */
  push(piece: Buffer): Buffer {
    this.rest = this.rest.length === 0 ? piece : Buffer.concat([this.rest, piece]);
    if (this.head === undefined && !this.readHead()) return NONE;
    return this.chunked ? this.takeChunks() : this.takePlain();
  }

  private readHead(): boolean {
    const end = this.rest.indexOf(HEAD_END);
    if (end < 0) return false;
    const [first = "", ...lines] = this.rest.subarray(0, end).toString("latin1").split("\r\n");
    this.rest = this.rest.subarray(end + HEAD_END.length);
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(`${first} `)?.[1] ?? 0);
    // Go on: the answer follows.
    if (status === 100) return this.readHead();
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
    );
    this.head = { status, headers };
    this.chunked = headers.get("transfer-encoding") === "chunked";
    this.missing = Number(headers.get("content-length") ?? Number.POSITIVE_INFINITY);
    return true;
  }

  private takePlain(): Buffer {
    const taken = this.rest.subarray(0, this.missing);
    this.rest = NONE;
    this.missing -= taken.length;
    this.whole = this.missing === 0;
    return taken;
  }

  private takeChunks(): Buffer {
    const pieces: Buffer[] = [];
    while (!this.whole) {
      const lineEnd = this.rest.indexOf("\r\n");
      if (lineEnd < 0) break;
      const size = Number.parseInt(this.rest.subarray(0, lineEnd).toString("latin1"), 16);
      const start = lineEnd + 2;
      if (this.rest.length < start + size + 2) break;
      pieces.push(this.rest.subarray(start, start + size));
      this.rest = this.rest.subarray(start + size + 2);
      this.whole = size === 0;
    }
    return Buffer.concat(pieces);
  }
}
