/**
 * What a node's daemon asks its coordinator at the start: may I come in, and where is the bus? The node's own key signs the
 * question, and the coordinator's own key the answer.
 *
 * S1. Who has joined and was not approved yet is told to wait, by an error that passes by itself.
 * S2. Of two keys, where they are being exchanged, the one that is known counts from then on (trust/own-key.ts).
 * S3. Where the cluster does not know the key and somebody has put an administrator's token here, the key is let in with that.
 * S4. Of several control nodes any may be asked, and each answers for the cluster: one that is dead or hung costs a moment.
 * S5. Whoever answers without the key of the coordinator that this machine has joined has no say here, and least of all that this
 *     node is not known: it may be anybody who has taken that port for a while. That passes by itself, too.
 */
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { Session, type SessionRequest } from "@openclaw-cluster/contract/join";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { readSecret } from "../system/folders.ts";
import { fingerprintOf } from "../trust/fingerprint.ts";
import type { OwnKey } from "../trust/own-key.ts";
import { isRefusal, isSessionAnswer, makeSessionRequest } from "../trust/session-proof.ts";
import { firstAnswer } from "../system/first-answer.ts";
import { AGAIN, keepPin, notPinned } from "./pin.ts";

/** One address has so long alone before the next is asked as well: above what a proven answer takes on a poor line. */
export const STAGGER_MS = 1_000;

export interface SessionQuestion {
  readonly node: NodeId;
  readonly keys: OwnKey;
  /** Of the control nodes, likeliest first; at least one. */
  readonly urls: readonly string[];
  /** Who may have certified them, where they speak TLS. */
  readonly trust?: Trust;
  readonly token?: string;
  /** Where the coordinator's key stands (pin.ts). */
  readonly pinFile: string;
}

export interface Admitted {
  readonly cluster: string;
  readonly busUrls: readonly string[];
  readonly coordinatorKey: string;
  readonly coordinatorUrls?: readonly string[] | undefined;
  /** Who has said so. */
  readonly at: string;
}

interface At extends SessionQuestion {
  readonly url: string;
}

interface Options {
  readonly signal?: AbortSignal;
}

/** Throws node_removed where the node is not known, unavailable while it waits to be approved, and what a call throws. */
export async function askSession(question: SessionQuestion, signal?: AbortSignal): Promise<Admitted> {
  const { node, keys, urls } = question;
  const ask = (url: string, ended: AbortSignal): Promise<Admitted & Session> => askAt({ ...question, url }, { signal: ended });
  const session = await firstAnswer(urls, { staggerMs: STAGGER_MS, signal, isLast }, ask);
  if (session.state === "approved") return session;
  throw new ClusterError(
    "unavailable",
    `${node} has joined and waits to be let in, with the key ${fingerprintOf(keys.publicKey)}; on the coordinator: openclaw-cluster nodes approve ${node}`,
  );
}

/** S4. What the cluster says is the same everywhere; a wrong certificate is one machine's. */
export function isLast(error: unknown): boolean {
  return !(error instanceof ClusterError) || !(error.row.retryable || error.code === "certificate_refused");
}

async function askAt(question: At, options: Options): Promise<Admitted & Session> {
  const { node, url, trust, token, pinFile } = question;
  const client = openClient({ url, transport: nodeTransport(trust) });
  try {
    const coordinatorKey = (await readSecret(pinFile)) ?? (await letIn(question, options));
    const ask = (): Promise<Session> => knock(client, { ...question, coordinatorKey }, options);
    const session = await ask().catch(async (error: unknown) => {
      if (!isRefused(error)) throw error;
      if (token === undefined) throw removed(node, error);
      await letIn(question, options);
      return ask();
    });
    return { ...session, at: url };
  } finally {
    await client.close();
  }
}

/** S3. The coordinator's key. */
async function letIn({ node, keys, url, trust, token, pinFile }: At, options: Options): Promise<string> {
  if (token === undefined) throw notPinned(pinFile);
  const client = openClient({ url, token, transport: nodeTransport(trust) });
  try {
    const { coordinatorKey } = await client.enrol({ id: node, publicKey: keys.publicKey }, options);
    return await keepPin({ file: pinFile, url }, coordinatorKey);
  } finally {
    await client.close();
  }
}

export interface Knock extends Pick<At, "node" | "keys" | "url"> {
  /** Who has to answer. */
  readonly coordinatorKey: string;
}

/** S2. Throws unauthorized where the coordinator knows none of them, and coordinator_unreachable where another answers (S5). */
export function knock(client: Client, { node, keys, url, coordinatorKey }: Knock, options: Options = {}): Promise<Session> {
  return keys.withEach(async ({ seed }) => {
    const question = makeSessionRequest(node, coordinatorKey, seed);
    const said = await client.session({ id: node, ...question }, options).catch((error: unknown) => {
      const isForeign = error instanceof ClusterError && !isItsWord(error, { node, question, coordinatorKey });
      throw isForeign ? strangerAt(url, error) : error;
    });
    const session = Session.safeParse(said).data;
    if (session !== undefined && isSessionAnswer(node, session, question, coordinatorKey)) return session;
    throw strangerAt(url);
  }, isRefused);
}

export function isRefused(error: unknown): boolean {
  return error instanceof ClusterError && error.code === "unauthorized";
}

/** S5. What passes by itself needs no proof, and what this side has found out, which has a cause, is nobody's word. */
function isItsWord(
  error: ClusterError,
  { node, question, coordinatorKey }: { node: NodeId; question: SessionRequest; coordinatorKey: string },
): boolean {
  if (error.cause !== undefined || (error.row.retryable && error.code !== "internal")) return true;
  return isRefusal(node, error, question, coordinatorKey);
}

function strangerAt(url: string, error?: ClusterError): ClusterError {
  const said = error === undefined ? "" : `, and says ${error.code}`;
  return new ClusterError(
    "coordinator_unreachable",
    `whoever answers at ${url} does not prove to be the coordinator that this machine has joined${said}: another program, ` +
      `or a coordinator with another key; if it was set up anew, ${AGAIN}`,
    { cause: error },
  );
}

function removed(node: NodeId, cause: unknown): ClusterError {
  return new ClusterError(
    "node_removed",
    `the cluster knows no node ${node} with this machine's key, or has shut it out; join with a new code: on the coordinator \`openclaw-cluster invite\``,
    { cause },
  );
}
