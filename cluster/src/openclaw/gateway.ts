/** The OpenClaw Gateway of this machine, behind the room's door: one connection, on which turns and inventory run. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { GatewayConnection, type ConnectionOptions } from "./connection.ts";
import { readInventory } from "./inventory.ts";
import type { Gateway } from "./openclaw.ts";
import { invokeTool } from "./tools-http.ts";
import { runTurn } from "./turns.ts";
import { UnstoppedRuns } from "./unstopped-runs.ts";

/**
 * Connects in the background and keeps trying; `reachable` says whether there is a connection now. Throws ClusterError
 * config_invalid for an address or an identity file that cannot be used.
 */
export function connectGateway(options: ConnectionOptions): Gateway {
  const url = socketUrl(options.url);
  const connection = new GatewayConnection({ ...options, url });
  const unstopped = new UnstoppedRuns({ connection, clock: options.clock, log: options.log });
  const parts = { connection, unstopped, clock: options.clock, log: options.log };
  return {
    get reachable() {
      return connection.hello !== undefined;
    },
    get defaultAgent() {
      return connection.hello?.defaultAgent ?? "main";
    },
    onStatus: (listener) => connection.onStatus(listener),
    inventory: () => readInventory(connection),
    turn: (turn, signal, onEvent) => runTurn(parts, turn, signal, onEvent),
    invokeTool: (call, signal) => invokeTool({ url, token: options.token }, call, signal),
    async close() {
      unstopped.close();
      await connection.close();
    },
  };
}

/** http:// is as good as ws://, the Gateway has one port for both. What a URL may carry beside the address is dropped. */
function socketUrl(text: string): string {
  const url = URL.parse(text.replace(/^http/, "ws"));
  if (url === null || !/^wss?:$/.test(url.protocol))
    throw new ClusterError("config_invalid", "The Gateway's address is not a ws:// or http:// URL.");
  return `${url.protocol}//${url.host}`;
}
