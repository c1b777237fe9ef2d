/**
 * Looks for coordinators among the machines of this machine's tailnet. Tailscale says which there are; one that answers
 * `/healthz` as a coordinator does is told to a person, and to nobody else.
 *
 * D1. That something answers proves nothing. Nothing secret is sent to what was found, and no command goes there by itself: a
 *     machine of the tailnet that only passes on what others say would stand between this machine and its coordinator.
 * D2. Nobody is asked for long, nor much is read, nor are all asked at once.
 */
import { request } from "node:http";
import { bracketed } from "../system/address.ts";
import type { Environment } from "../system/folders.ts";
import { askTailscale, tailnetAddress, type RunningTailscale, type Tailscale } from "../system/tailscale.ts";

export interface Found {
  /** In the tailnet. */
  readonly name: string;
  readonly url: string;
}

export interface Discovery {
  readonly tailscale: Tailscale;
  /** How many machines were asked. */
  readonly asked: number;
  readonly coordinators: readonly Found[];
}

export type Knock = (host: string, port: number) => Promise<boolean>;

const KNOCK_MS = 2_000;
const KNOCKS_AT_ONCE = 32;
/** What a coordinator says to those that it does not know (api/routes.ts). */
const HEALTHY = '{"status":"ok"}';

export async function findCoordinators(question: { env: Environment; port: number; knock?: Knock }): Promise<Discovery> {
  const { env, port, knock = isCoordinator } = question;
  const tailscale = await askTailscale({ env });
  if (tailscale.kind !== "running") return { tailscale, asked: 0, coordinators: [] };
  const machines = machinesOf(tailscale);
  const waiting = [...machines];
  const heard = new Set<Machine>();
  const ask = async (): Promise<void> => {
    for (let machine = waiting.shift(); machine !== undefined; machine = waiting.shift())
      if (await knock(machine.address, port)) heard.add(machine);
  };
  await Promise.all(Array.from({ length: KNOCKS_AT_ONCE }, ask));
  const coordinators = machines
    .filter((machine) => heard.has(machine))
    .map(({ name, address }) => ({ name, url: `http://${bracketed(address)}:${port}` }));
  return { tailscale, asked: machines.length, coordinators };
}

interface Machine {
  readonly name: string;
  readonly address: string;
}

/** This one first, then those that are online. */
function machinesOf(tailscale: RunningTailscale): Machine[] {
  const own = { name: tailscale.magicDnsName ?? "this machine", address: tailnetAddress(tailscale) };
  const others = tailscale.peers
    .filter(({ online }) => online)
    .map(({ name, ips }) => ({ name, address: ips.find((ip) => !ip.includes(":")) ?? ips[0] }));
  return [own, ...others].filter((machine): machine is Machine => machine.address !== undefined);
}

/** Does it answer as a coordinator does? */
export function isCoordinator(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(KNOCK_MS);
    const asked = request({ host, port, path: "/healthz", agent: false, signal }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (piece: string) => {
        text += piece;
        if (text.length > HEALTHY.length) answer.destroy();
      });
      answer.on("error", () => undefined);
      answer.on("close", () => resolve(answer.statusCode === 200 && text === HEALTHY));
    });
    asked.on("error", () => resolve(false));
    asked.end();
  });
}
