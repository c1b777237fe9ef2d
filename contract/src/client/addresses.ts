/**
 * Several addresses of one cluster as one channel. Any control node serves, but each can be dead, hung, cut off, or have no
 * leader to ask for a while.
 *
 * A1. One address is used until it fails: no connection, one that is cut, or an answer that says that it cannot serve now. Then
 *     the request goes on at the next, each once; so the pauses of retry.ts lie between rounds and not between addresses.
 * A2. What must not be done twice goes on only when it was surely not done. It is sent only where somebody has answered a moment
 *     ago or answers a probe, so that a hung node is mostly found out before it has it.
 * A3. An address is hung when it leaves a request and then a probe without an answer, and another address answers. Then everything that is
 *     open there is broken off, and it rests. Where no other answers, there is nothing better than to wait, as with a lone one.
 */
import { ClusterError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { errorFrom, mayRepeat } from "./retry.ts";
import { ConnectionBroken, type Channel, type HttpReply, type HttpRequest, type HttpStream, type Transport } from "./transport.ts";

/** ms. */
export const ADDRESSES = {
  /** Nothing was heard for so long while a call waits: then the address is probed. Above what a sync or a full line takes. */
  callSilentMs: 2_000,
  /** With streams alone, which say nothing for long by themselves; a probe costs the server as much as a small call. */
  streamSilentMs: 5_000,
  /** /healthz reads nothing, so it is answered by whoever is alive. Above the round trip of a poor line. */
  probeMs: 1_500,
  lookMs: 500,
  /** So long nothing is sent to an address that was hung, while there is another. */
  restMs: 10_000,
  /** The longest that a call stays at a hung address, where the next that is probed answers. */
  leftWithinMs: 5_500,
  /** And the longest that a stream does, where no call tells sooner. */
  streamLeftWithinMs: 8_500,
} as const;

/** There is nobody behind the server that answers who could do it now; of itself or of a proxy. */
const CANNOT_SERVE: ReadonlySet<number> = new Set([502, 503, 504]);

interface Address {
  /** For people. */
  readonly name: string;
  readonly channel: Channel;
  /** Its own connection: a probe never waits behind what it is to judge. Opened when first needed. */
  prober: Channel | undefined;
  heardAt: number;
  /** Since when something has been open there. */
  busySince: number;
  restsUntil: number;
  probing: boolean;
  calls: number;
  readonly open: Set<AbortController>;
}

interface Asked<T> {
  readonly answer: T;
  /** Whether what it says lets the request go on elsewhere. */
  readonly error: ClusterError | undefined;
}

/** Throws `usage` where there is none, or more than LIMITS.coordinatorUrlsMax. */
export function openAddresses(urls: readonly string[], transport: Transport): Channel {
  const origins = [...new Set(urls.map((url) => new URL(url).origin))];
  const [first] = origins;
  if (first === undefined || origins.length > LIMITS.coordinatorUrlsMax)
    throw new ClusterError("usage", `a client takes 1 to ${LIMITS.coordinatorUrlsMax} addresses of its cluster, not ${origins.length}`);
  return origins.length === 1 ? transport(new URL(first)) : new Addresses(origins, transport);
}

class Addresses implements Channel {
  private readonly transport: Transport;
  private readonly all: readonly Address[];
  private current: Address;
  private timer: ReturnType<typeof setInterval> | undefined;
  private closed = false;

  constructor(origins: readonly string[], transport: Transport) {
    this.transport = transport;
    this.all = origins.map((name) => ({
      name,
      channel: transport(new URL(name)),
      prober: undefined,
      heardAt: Number.NEGATIVE_INFINITY,
      busySince: 0,
      restsUntil: 0,
      probing: false,
      calls: 0,
      open: new Set(),
    }));
    this.current = this.all[0] as Address;
  }

  send(request: HttpRequest): Promise<HttpReply> {
    return this.round(request, async (address, own, sent) => {
      address.calls += 1;
      try {
        const answer = await address.channel.send(sent);
        return { answer, error: faultOf(answer, answer.text) };
      } finally {
        address.calls -= 1;
        address.open.delete(own);
      }
    });
  }

  stream(request: HttpRequest): Promise<HttpStream> {
    return this.round(request, async (address, own, sent) => {
      try {
        const stream = await address.channel.stream(sent);
        if (!CANNOT_SERVE.has(stream.status)) return { answer: { ...stream, pieces: this.pieces(address, own, stream) }, error: undefined };
        const text = await textOf(stream);
        address.open.delete(own);
        return { answer: { ...stream, pieces: once(text) }, error: faultOf(stream, text) };
      } catch (error) {
        address.open.delete(own);
        throw error;
      }
    });
  }

  soon(run: () => void): void {
    this.current.channel.soon(run);
  }

  close(): void {
    this.closed = true;
    clearInterval(this.timer);
    for (const { channel, prober } of this.all) {
      channel.close();
      prober?.close();
    }
  }

  /** A1, A2 */
  private async round<T>(
    request: HttpRequest,
    ask: (address: Address, own: AbortController, request: HttpRequest) => Promise<Asked<T>>,
  ): Promise<T> {
    const { safe = false, signal } = request;
    const tried = new Set<Address>();
    const faults: { readonly name: string; readonly fault: unknown }[] = [];
    let answered: T | undefined;
    for (let at = this.next(tried); at !== undefined; at = this.next(tried)) {
      tried.add(at);
      const own = new AbortController();
      try {
        if (!safe) await this.ensureAlive(at);
        this.opened(at, own);
        const ended = signal === undefined ? own.signal : AbortSignal.any([signal, own.signal]);
        const { answer, error } = await ask(at, own, { ...request, signal: ended });
        at.heardAt = performance.now();
        if (error === undefined) return answer;
        answered = answer;
        this.leave(at);
        if (!safe && !mayRepeat(error, safe)) return answer;
      } catch (thrown) {
        if (this.closed || signal?.aborted === true) throw thrown;
        this.leave(at);
        const fault = own.signal.aborted ? new ConnectionBroken("no answer", true, thrown) : thrown;
        faults.push({ name: at.name, fault });
        // Also after an answer of another: here it may have been done.
        if (!goesOn(fault, safe)) throw together(faults);
      }
    }
    if (answered !== undefined) return answered;
    throw together(faults);
  }

  /** The one in use, then those after it; one that rests only where all of them do. */
  private next(tried: ReadonlySet<Address>): Address | undefined {
    const start = this.all.indexOf(this.current);
    const ring = [...this.all.slice(start), ...this.all.slice(0, start)].filter((address) => !tried.has(address));
    const now = performance.now();
    return ring.find(({ restsUntil }) => restsUntil <= now) ?? (tried.size === 0 ? ring[0] : undefined);
  }

  /** Many calls may fail at one address at once: only the first of them moves on. */
  private leave(address: Address): void {
    if (this.current === address) this.current = this.next(new Set([address])) ?? address;
  }

  private async ensureAlive(address: Address): Promise<void> {
    if (performance.now() - address.heardAt <= ADDRESSES.callSilentMs || (await this.probe(address))) return;
    throw new ConnectionBroken("no answer to a probe", false, undefined);
  }

  private opened(address: Address, own: AbortController): void {
    if (address.open.size === 0) address.busySince = performance.now();
    address.open.add(own);
    if (this.timer !== undefined) return;
    this.timer = setInterval(() => this.look(), ADDRESSES.lookMs);
    // What is open keeps a process alive, not that somebody looks at it. A browser's timers are numbers.
    if (typeof this.timer === "object") this.timer.unref();
  }

  private look(): void {
    const now = performance.now();
    const busy = this.all.filter(({ open }) => open.size > 0);
    for (const address of busy) {
      const patienceMs = address.calls > 0 ? ADDRESSES.callSilentMs : ADDRESSES.streamSilentMs;
      if (now - Math.max(address.heardAt, address.busySince) > patienceMs && !address.probing) void this.judge(address);
    }
    if (busy.length > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }

  /** A3. Never rejects. */
  private async judge(address: Address): Promise<void> {
    address.probing = true;
    try {
      if (await this.probe(address)) return;
      const other = await this.whoAnswers(address);
      if (other === undefined || this.closed) return;
      address.restsUntil = performance.now() + ADDRESSES.restMs;
      if (this.current === address) this.current = other;
      for (const own of address.open) own.abort();
    } finally {
      address.probing = false;
    }
  }

  /** The first to answer. */
  private async whoAnswers(besides: Address): Promise<Address | undefined> {
    const found = Promise.withResolvers<Address | undefined>();
    const others = this.all.filter((address) => address !== besides);
    const probes = others.map(async (address) => {
      if (await this.probe(address)) found.resolve(address);
    });
    void Promise.all(probes).then(() => found.resolve(undefined));
    return found.promise;
  }

  /** Never rejects. */
  private async probe(address: Address): Promise<boolean> {
    try {
      address.prober ??= this.transport(new URL(address.name));
      const signal = AbortSignal.timeout(ADDRESSES.probeMs);
      const { status } = await address.prober.send({ method: "GET", path: "/healthz", headers: {}, idleMs: ADDRESSES.probeMs, signal });
      address.heardAt = performance.now();
      address.restsUntil = 0;
      return !CANNOT_SERVE.has(status);
    } catch {
      // Whatever the reason is, nobody answers there.
      return false;
    }
  }

  private async *pieces(address: Address, own: AbortController, { pieces }: HttpStream): AsyncGenerator<string> {
    try {
      for await (const piece of pieces) {
        address.heardAt = performance.now();
        yield piece;
      }
    } catch (error) {
      this.leave(address);
      throw own.signal.aborted ? new ConnectionBroken(`${address.name} (no answer)`, true, error) : error;
    } finally {
      address.open.delete(own);
    }
  }
}

function faultOf({ status, retryAfter }: Pick<HttpReply, "status" | "retryAfter">, text: string): ClusterError | undefined {
  if (!CANNOT_SERVE.has(status)) return undefined;
  // How long it wants to be left alone does not matter to the others.
  const error = errorFrom(status, text, retryAfter === undefined ? undefined : "0");
  // It was served, to its end: a node that was asked for a model could not.
  return error.code === "node_lost" ? undefined : error;
}

/** A certificate that is not believed is found out before anything is said. */
function goesOn(fault: unknown, safe: boolean): boolean {
  return fault instanceof ConnectionBroken ? safe || !fault.sent : fault instanceof ClusterError;
}

/** What was tried, for people. That one has a wrong certificate must not hide that others may come back. */
function together(faults: readonly { readonly name: string; readonly fault: unknown }[]): unknown {
  const broken = faults.flatMap(({ fault }) => (fault instanceof ConnectionBroken ? [fault] : []));
  const last = broken.at(-1);
  if (last === undefined) return faults.at(-1)?.fault;
  const told = faults.map(({ name, fault }) => `${name} (${fault instanceof Error ? fault.message : String(fault)})`).join(", ");
  return new ConnectionBroken(
    told,
    broken.some(({ sent }) => sent),
    last.cause,
  );
}

async function textOf({ pieces }: HttpStream): Promise<string> {
  let text = "";
  for await (const piece of pieces) text += piece;
  return text;
}

async function* once(text: string): AsyncGenerator<string> {
  yield text;
}
