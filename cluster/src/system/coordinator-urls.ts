/**
 * Where this machine finds its coordinator: what its settings say, and what the coordinator itself has told of all control nodes,
 * kept in a private file, so that the machine in the settings may be gone for good.
 *
 * U1. What is kept belongs to the coordinator's key: beside another key it is not read. It is written from a proven answer alone; and
 *     read as a hint, since whoever answers at an address has to prove itself there anew.
 * U2. An address of the loopback is of the machine that told it. It is kept only where it was told over the loopback.
 * U3. A file that cannot be read as this ends nothing: it is as if there were none.
 */
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { z } from "zod";
import { reachOf } from "./address.ts";
import type { ClusterConfig } from "./config.ts";
import { readTextFile, writePrivateFile, type Folders } from "./folders.ts";

const FILE_CHARS_MAX = 64 * 1024;

const Kept = z.object({ coordinatorKey: z.string(), urls: z.array(z.string()).max(LIMITS.coordinatorUrlsMax) });

export interface Told {
  readonly coordinatorKey: string;
  readonly urls: readonly string[];
  /** Where it was told. */
  readonly at: string;
}

/** What the settings say, in their order. */
export function configuredUrls({ url }: ClusterConfig["coordinator"]): readonly string[] {
  return url === undefined ? [] : typeof url === "string" ? [url] : url;
}

/** Those of the settings first. At most LIMITS.coordinatorUrlsMax. */
export async function knownUrls(
  coordinator: ClusterConfig["coordinator"],
  folders: Folders,
  coordinatorKey: string | undefined,
): Promise<readonly string[]> {
  return distinct([...configuredUrls(coordinator), ...(await readKeptUrls(folders, coordinatorKey))]);
}

export async function readKeptUrls({ coordinators }: Folders, coordinatorKey: string | undefined): Promise<readonly string[]> {
  if (coordinatorKey === undefined) return [];
  const kept = parseKept(await readTextFile(coordinators));
  return kept?.coordinatorKey === coordinatorKey ? distinct(kept.urls) : [];
}

/** Replaces what was kept, unless it is the same, or nothing of it may be kept. */
export async function keepUrls(folders: Folders, { coordinatorKey, urls, at }: Told): Promise<void> {
  const kept = distinct(urls).filter((url) => !isLoopback(url) || isLoopback(at));
  const text = `${JSON.stringify({ coordinatorKey, urls: kept })}\n`;
  if (kept.length > 0 && text !== (await readTextFile(folders.coordinators))) await writePrivateFile(folders.coordinators, text);
}

function parseKept(text: string | undefined): z.infer<typeof Kept> | undefined {
  if (text === undefined || text.length > FILE_CHARS_MAX) return undefined;
  try {
    return Kept.safeParse(JSON.parse(text)).data;
  } catch {
    // No JSON (U3).
    return undefined;
  }
}

/** Addresses of servers alone, each once, in their order. */
function distinct(urls: readonly string[]): readonly string[] {
  const origins = urls.flatMap((text) => {
    const url = URL.parse(text);
    return url !== null && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "" ? [url.origin] : [];
  });
  return [...new Set(origins)].slice(0, LIMITS.coordinatorUrlsMax);
}

const isLoopback = (url: string): boolean => reachOf(new URL(url).hostname) === "loopback";
