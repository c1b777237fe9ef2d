/** The API on a free port over a FakeCoordinator, with a token of each scope, and a plain way to ask it anything. */
import { request, type IncomingHttpHeaders } from "node:http";
import { request as requestTls } from "node:https";
import { connect, type Socket } from "node:net";
import { openApi, type Api } from "../../cluster/src/api/api.ts";
import type { ModelDesk } from "../../cluster/src/models/models.ts";
import { systemClock, type Clock } from "../../cluster/src/system/clock.ts";
import { silentLog, type Log } from "../../cluster/src/system/log.ts";
import type { ServerCertificate } from "../../cluster/src/trust/authority.ts";
import type { Scope } from "@openclaw-cluster/contract/scopes";
import { FakeCoordinator } from "./fake-coordinator.ts";

export interface Question {
  readonly method?: string;
  readonly path: string;
  /** undefined removes a header that would be sent by itself. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** Anything but a string or bytes is sent as JSON. */
  readonly body?: unknown;
  /** The address that it is asked from. */
  readonly localAddress?: string;
  /** Who has certified the server, where it speaks TLS. */
  readonly ca?: string | undefined;
}

export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The text as JSON; throws where it is none. */
  // oxlint-disable-next-line typescript/no-explicit-any -- what an answer holds is for expect to judge
  readonly json: any;
}

export interface TestApi extends Api {
  readonly coordinator: FakeCoordinator;
  readonly tokens: Readonly<Record<Scope, string>>;
  /** As an admin unless the headers say otherwise, on a connection of its own. */
  ask(question: Question): Promise<Answered>;
  /** A bare connection, for what no HTTP client would send. `close` ends it. */
  dial(localAddress?: string): Socket;
}

interface ApiOptions {
  /** That of another API: control nodes of one cluster tell of one truth. */
  readonly coordinator?: FakeCoordinator;
  readonly clock?: Clock;
  readonly log?: Log;
  readonly allowedHosts?: readonly string[];
  readonly models?: ModelDesk;
  /** It speaks TLS then, which `ask` does not. */
  readonly certificate?: ServerCertificate;
}

/** By which name it is known, whatever the Host header says. */
const CERTIFIED = { servername: "localhost" };

export async function startApi({ coordinator = new FakeCoordinator(), ...options }: ApiOptions = {}): Promise<TestApi> {
  const tokens = {
    viewer: coordinator.tokenFor("viewer"),
    submitter: coordinator.tokenFor("submitter"),
    operator: coordinator.tokenFor("operator"),
    admin: coordinator.tokenFor("admin"),
  };
  const api = await openApi({ coordinator, host: "127.0.0.1", port: 0, clock: systemClock, log: silentLog, ...options });
  const sockets: Socket[] = [];
  return {
    ...api,
    coordinator,
    tokens,
    ask: (question) => ask(api.port, tokens.admin, question),
    dial(localAddress) {
      const socket = connect({ port: api.port, host: "127.0.0.1", ...(localAddress !== undefined && { localAddress }) });
      // A reset is one way of being closed.
      socket.on("error", () => socket.destroy());
      sockets.push(socket);
      return socket;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await api.close();
    },
  };
}

export function ask(
  port: number,
  token: string,
  { method = "GET", path, headers = {}, body, localAddress, ca }: Question,
): Promise<Answered> {
  const raw = body === undefined || typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body);
  const all: Record<string, string | undefined> = {
    authorization: `Bearer ${token}`,
    ...(raw !== undefined && { "content-type": "application/json", "content-length": String(Buffer.byteLength(raw)) }),
    ...headers,
  };
  const sent = Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined));
  return new Promise((resolve, reject) => {
    const from = localAddress === undefined ? {} : { localAddress };
    const options = {
      host: "127.0.0.1",
      port,
      method,
      path,
      headers: sent,
      agent: false,
      ...from,
      ...(ca !== undefined && { ca, ...CERTIFIED }),
    };
    const asked = (ca === undefined ? request : requestTls)(options, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (piece: string) => (text += piece));
      answer.on("error", reject);
      answer.on("end", () =>
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          text,
          get json() {
            return JSON.parse(text);
          },
        }),
      );
    });
    asked.on("error", reject);
    asked.end(raw);
  });
}
