/** One run of one command: its terminal, its global options, and the way to the cluster, opened when first asked for. */
import { once } from "node:events";
import { connect as connectTo } from "node:net";
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import type { Client } from "@openclaw-cluster/contract/client/client";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { clusterHome } from "../system/folders.ts";
import { firstAnswer } from "../system/first-answer.ts";
import { findConnection, type Connection, type ConnectionFlags } from "./connection.ts";
import { remark, type Terminal } from "./terminal.ts";

const KNOCK_MS = 5_000;
/** So much longer the likelier address has the word alone (RFC 8305). */
const KNOCK_STAGGER_MS = 250;

export interface GlobalOptions extends ConnectionFlags {
  readonly json?: true;
}

export interface Session {
  readonly terminal: Terminal;
  readonly options: GlobalOptions;
  /** Exactly one document on stdout; for streams one document in each line. */
  readonly json: boolean;
  readonly home: string;
  /** A command that we tell a person to type, such as `cancel t4`, as it works where this one was typed. */
  typed(line: string): string;
  connection(): Promise<Connection>;
  client(): Promise<Client>;
  /** The address that has answered first. */
  url(): Promise<string>;
  /** The answer: the document with --json, else the text. */
  show(document: unknown, text: () => string): void;
  close(): Promise<void>;
}

export function openSession(options: GlobalOptions, terminal: Terminal): Session {
  const home = clusterHome({ home: options.home, env: terminal.env });
  const homeFlag = home === clusterHome({ env: {} }) ? "" : ` --home ${/\s/.test(home) ? JSON.stringify(home) : home}`;
  // npx puts this into the environment; without it the program is on the PATH, or an alias stands for it.
  const program = terminal.env["npm_command"] === "exec" ? "npx openclaw-cluster" : "openclaw-cluster";
  let connection: Promise<Connection> | undefined;
  let reached: Promise<Reached> | undefined;
  const reach = (): Promise<Reached> => (reached ??= session.connection().then(openAny));
  const session: Session = {
    terminal,
    options,
    json: options.json === true,
    home,
    typed: (line) => `${program} ${line}${homeFlag}`,
    connection: () => (connection ??= findConnection(options, terminal.env, (text) => remark(terminal, text))),
    client: async () => (await reach()).client,
    url: async () => (await reach()).url,
    show: (document, text) => terminal.out(session.json ? `${JSON.stringify(document, null, 2)}\n` : text()),
    close: async () => {
      // A client that never came to be has said so where it was asked for.
      await reached?.then(
        ({ client }) => client.close(),
        () => undefined,
      );
    },
  };
  return session;
}

interface Reached {
  readonly client: Client;
  readonly url: string;
}

/** Throws coordinator_unreachable at once where nothing listens. */
async function openAny({ urls, token, trust }: Pick<Connection, "urls"> & Partial<Connection>): Promise<Reached> {
  const url = await firstAnswer(urls, { staggerMs: KNOCK_STAGGER_MS, isLast: () => false }, knock);
  const [{ openClient }, { nodeTransport }] = await Promise.all([
    import("@openclaw-cluster/contract/client/client"),
    import("@openclaw-cluster/contract/client/node-transport"),
  ]);
  const likeliest = [url, ...urls.filter((other) => other !== url)];
  return { url, client: openClient({ urls: likeliest, transport: nodeTransport(trust), ...(token !== undefined && { token }) }) };
}

/** Of one address. */
export async function openConnection({ url, ...rest }: { url: string; token?: string; trust?: Trust }): Promise<Client> {
  return (await openAny({ urls: [url], ...rest })).client;
}

/** The client waits patiently for a coordinator that restarts; but one that is not there at all is told at once. */
async function knock(address: string, ended: AbortSignal): Promise<string> {
  const { hostname, port, protocol } = new URL(address);
  const socket = connectTo({ host: hostname.replaceAll(/^\[|\]$/g, ""), port: Number(port) || (protocol === "https:" ? 443 : 80) });
  try {
    await once(socket, "connect", { signal: AbortSignal.any([ended, AbortSignal.timeout(KNOCK_MS)]) });
    return address;
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    throw new ClusterError(
      "coordinator_unreachable",
      `nothing answers at ${address} (${reason === "ABORT_ERR" ? `no answer in ${KNOCK_MS} ms` : reason})`,
      { cause: error },
    );
  } finally {
    socket.destroy();
  }
}

/** `trust`: who may have certified whoever answers, where that speaks TLS. */
export function openTrusted(url: string, trust: Trust | undefined): Promise<Client> {
  return openConnection({ url, ...(trust !== undefined && { trust }) });
}
