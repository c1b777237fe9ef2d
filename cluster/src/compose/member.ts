/**
 * This machine as a member of its cluster: what it asks over HTTP with its own key, beside its daemon or without it. No token of
 * the API is needed for any of it, and none is used.
 */
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import type { Client } from "@openclaw-cluster/contract/client/client";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Session } from "@openclaw-cluster/contract/join";
import type { Leaving, LeaveWish, Probe, ProbeRequest } from "@openclaw-cluster/contract/membership";
import { loadConfig, type ClusterConfig } from "../system/config.ts";
import { knownUrls } from "../system/coordinator-urls.ts";
import { failpoint } from "../system/failpoint.ts";
import { foldersOf, readSecret, type Environment, type Folders } from "../system/folders.ts";
import { firstAnswer } from "../system/first-answer.ts";
import { OwnKey } from "../trust/own-key.ts";
import { makeLeaveRequest, makeProbeRequest, makeRotateRequest } from "../trust/membership-proof.ts";
import { coordinatorTrust } from "./coordinator-trust.ts";
import { pinned } from "./pin.ts";
import { isLast, isRefused, knock, STAGGER_MS } from "./session.ts";

export interface MemberParts {
  readonly home: string;
  readonly env: Environment;
  readonly connect: (url: string, trust: Trust | undefined) => Promise<Client>;
  readonly signal?: AbortSignal;
}

interface Way {
  readonly client: Client;
  readonly url: string;
}

interface Introduced {
  readonly session: Session;
  readonly aheadMs: number;
}

export interface Member {
  readonly url: string;
  readonly session: Session;
  /** How far the coordinator's clock is ahead of this one. */
  readonly aheadMs: number;
  probe(kind: ProbeRequest["kind"]): Promise<Probe>;
  leave(wish: LeaveWish): Promise<Leaving>;
  /** Exchanges the key. Whatever dies in between, the node can still come in, and the same call again ends it. */
  rotate(): Promise<void>;
  close(): Promise<void>;
}

export async function openMember(parts: MemberParts): Promise<Member> {
  const { home, env, connect, signal } = parts;
  const folders = foldersOf(home);
  const config = await loadConfig({ home, env });
  const urls = await coordinatorsOf(config, folders);
  const coordinatorKey = await pinned(config, folders);
  const keys = await OwnKey.open(folders.nodeSeed);
  const trust = await coordinatorTrust(config, folders);
  const options = signal === undefined ? {} : { signal };
  const introduce = async ({ client, url }: Way, ended = signal): Promise<Introduced> => {
    const askedAt = Date.now();
    const question = { node: config.nodeId, keys, url, coordinatorKey };
    const session = await knock(client, question, ended === undefined ? {} : { signal: ended }).catch((error: unknown) => {
      throw isRefused(error) ? unknown(url, config.nodeId, error) : error;
    });
    return { session, aheadMs: session.now - (askedAt + Date.now()) / 2 };
  };
  const meet = async (url: string, ended: AbortSignal): Promise<Way & Introduced> => {
    const way = { client: await connect(url, trust), url };
    try {
      const met = await introduce(way, ended);
      ended.throwIfAborted();
      return { ...way, ...met };
    } catch (error) {
      await way.client.close();
      throw error;
    }
  };
  const { client, url, ...met } = await firstAnswer(urls, { staggerMs: STAGGER_MS, signal, isLast }, meet);
  let { aheadMs } = met;
  try {
    const { session } = met;
    const { node } = session;
    // The coordinator's clock may have been set meanwhile; or it has forgotten the node, which it then says.
    const ask = async <T>(call: (at: number) => Promise<T>): Promise<T> => {
      try {
        return await call(Date.now() + aheadMs);
      } catch (error) {
        if (!isRefused(error)) throw error;
        ({ aheadMs } = await introduce({ client, url }));
        return call(Date.now() + aheadMs);
      }
    };
    return {
      url,
      session,
      get aheadMs() {
        return aheadMs;
      },
      probe: (kind) => ask((at) => client.probe({ id: node, ...makeProbeRequest(session, at, kind, keys) }, options)),
      leave: (wish) => ask((at) => client.leave({ id: node, ...makeLeaveRequest(session, at, wish, keys) }, options)),
      async rotate() {
        const next = await keys.next();
        failpoint("rotate.written");
        await ask((at) => client.rotate({ id: node, ...makeRotateRequest(session, at, keys, next) }, options));
        failpoint("rotate.answered");
        keys.settle(next);
      },
      close: () => client.close(),
    };
  } catch (error) {
    await client.close();
    throw error;
  }
}

function unknown(url: string, node: string, cause: unknown): ClusterError {
  const detail = `the cluster at ${url} knows no node ${node} with this machine's key, or has shut it out`;
  return new ClusterError("node_removed", detail, { cause });
}

/** A coordinator's own daemon leaves its address while it runs. */
async function coordinatorsOf({ roles, coordinator }: ClusterConfig, folders: Folders): Promise<readonly string[]> {
  if (!roles.includes("coordinator")) return knownUrls(coordinator, folders, await readSecret(folders.coordinatorKey));
  const url = await readSecret(folders.apiUrl);
  if (url !== undefined) return [url];
  throw new ClusterError("coordinator_unreachable", `the coordinator of ${folders.home} does not run; start it first`);
}
