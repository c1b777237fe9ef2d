/**
 * After a change of the machine's addresses (another Wi-Fi, a phone's tether, a VPN that comes or goes) an old connection
 * is often dead without anybody having said so. Pings would tell within 6 s; asking at once tells within two.
 *
 * A1. Only an address that was not there a moment ago counts. One that goes (a pulled cable) leaves no better way, and the
 *     connection may live on when it returns.
 * A2. A change by itself ends nothing: the server is asked, and only a connection on which no answer comes is given up for
 *     a new one. Addresses also change on machines whose connection lies elsewhere, with each container that starts.
 */
import { networkInterfaces } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import type { Subscription } from "./bus.ts";
import type { Connection } from "./nats-connection.ts";

/** 0.1 ms of work each; with ANSWER_MS and a reconnect the node is back within 5 s. */
const LOOK_MS = 1_000;
/** Above the round trip of a poor line, a satellite's included. */
const ANSWER_MS = 1_500;

/** Of a connection, what is needed here. */
interface Watched {
  readonly connected: boolean;
  readonly nc: Pick<Connection["nc"], "rtt" | "reconnect">;
}

export function watchAddresses(connection: Watched, addresses: () => ReadonlySet<string> = addressesNow): Subscription {
  let known = addresses();
  const timer = setInterval(() => {
    const seen = addresses();
    const isNew = [...seen].some((address) => !known.has(address));
    known = seen;
    if (isNew) void askOrLeave(connection);
  }, LOOK_MS);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}

/** Never rejects. */
async function askOrLeave(connection: Watched): Promise<void> {
  if (!connection.connected) return;
  const { nc } = connection;
  // Where the connection ends meanwhile it is made anew without our help.
  const answered = nc.rtt().then(
    () => true,
    () => true,
  );
  if (await Promise.race([answered, delay(ANSWER_MS, false, { ref: false })])) return;
  if (connection.connected) await nc.reconnect();
}

function addressesNow(): ReadonlySet<string> {
  return new Set(Object.values(networkInterfaces()).flatMap((own) => (own ?? []).map(({ address }) => address)));
}
