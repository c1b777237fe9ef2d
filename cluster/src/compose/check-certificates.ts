/** Doctor's checks of certificates: the coordinator's authority, what its servers show, and what a node knows them by. */
import type { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:tls";
import type { ClusterConfig } from "../system/config.ts";
import { configuredUrls } from "../system/coordinator-urls.ts";
import { readSecret, readTextFile, type Folders } from "../system/folders.ts";
import { readCertificate } from "../trust/authority.ts";
import { fail, ok, warn, type Check } from "./check.ts";

const AUTHORITY = "authority";
const SHOWN = "certificate";
const DAY_MS = 86_400_000;
/** Time for a person to let all machines join again. */
const AUTHORITY_LEFT_MS = 180 * DAY_MS;
/** It is made anew with 30 days left, so something is wrong with fewer. */
const SHOWN_LEFT_MS = 25 * DAY_MS;
const ANSWERS_MS = 2_000;
const ANEW = "every machine that reaches this one over TLS then has to join again";

export async function checkAuthority({ authority, authorityKey }: Folders, now = Date.now()): Promise<Check> {
  const [text, key] = await Promise.all([readTextFile(authority), readTextFile(authorityKey)]);
  if (text === undefined && key === undefined) return ok(AUTHORITY, "not made yet: `start` does that");
  const certificate = text === undefined ? undefined : readCertificate(text);
  const putBack = `Put ${authority} and ${authorityKey} back as they were, or remove both: ${ANEW}.`;
  if (key === undefined) return fail(AUTHORITY, `its key, ${authorityKey}, is not there`, putBack);
  if (text === undefined) return warn(AUTHORITY, `${authority} is not there`, "`start` makes it anew for the same key.");
  if (certificate === undefined) return fail(AUTHORITY, `${authority} holds no certificate`, putBack);
  return lasts(AUTHORITY, certificate, {
    now,
    leftMs: AUTHORITY_LEFT_MS,
    advice: `Remove ${authority} and ${authorityKey}, and start anew: ${ANEW}.`,
  });
}

/** Of the daemon that runs in this folder; ok where it speaks no TLS. */
export async function checkShownCertificate({ apiUrl }: Folders, now = Date.now()): Promise<Check> {
  const running = await readSecret(apiUrl);
  if (running === undefined) return ok(SHOWN, "made at each start, where the API speaks TLS");
  if (!running.startsWith("https:")) return ok(SHOWN, "none: the API speaks plain HTTP, on this machine or in the tailnet only");
  const certificate = await certificateAt(new URL(running));
  if (certificate === undefined) return warn(SHOWN, `${running} shows none`, "Is the daemon running? `openclaw-cluster status` tells.");
  return lasts(SHOWN, certificate, {
    now,
    leftMs: SHOWN_LEFT_MS,
    advice: "Start the daemon anew; its log says why it could not make another one.",
  });
}

/** Of a machine that only works. */
export async function checkJoinedAuthority({ coordinator }: ClusterConfig, folders: Folders, now = Date.now()): Promise<Check> {
  const file = coordinator.caFile ?? folders.coordinatorAuthority;
  const text = await readTextFile(file);
  const again = "Join with a new code (on the coordinator: `openclaw-cluster invite`), or put its data/authority.pem there.";
  if (text === undefined) {
    const isNeeded = configuredUrls(coordinator).some((url) => url.startsWith("https:"));
    return isNeeded
      ? fail(AUTHORITY, `${file}, by which this machine knows its coordinator, is not there`, again)
      : ok(AUTHORITY, "none needed");
  }
  const certificate = readCertificate(text);
  if (certificate === undefined) return fail(AUTHORITY, `${file} holds no certificate`, again);
  return lasts(AUTHORITY, certificate, { now, leftMs: AUTHORITY_LEFT_MS, advice: again });
}

function lasts(
  name: string,
  { validFromDate, validToDate }: X509Certificate,
  rule: { now: number; leftMs: number; advice: string },
): Check {
  const { now, leftMs, advice } = rule;
  const until = `good until ${validToDate.toISOString().slice(0, 10)}`;
  if (now < validFromDate.getTime())
    return fail(
      name,
      `not good before ${validFromDate.toISOString()}, and the clock shows ${new Date(now).toISOString()}`,
      "Set the clock.",
    );
  if (now >= validToDate.getTime()) return fail(name, `${until}, which is over`, advice);
  return validToDate.getTime() - now < leftMs ? warn(name, until, advice) : ok(name, until);
}

/** Whoever certified it: only its time is looked at. */
async function certificateAt({ hostname, port }: URL): Promise<X509Certificate | undefined> {
  const socket = connect({ host: hostname.replaceAll(/^\[|\]$/g, ""), port: Number(port) || 443, rejectUnauthorized: false });
  try {
    await once(socket, "secureConnect", { signal: AbortSignal.timeout(ANSWERS_MS) });
    return socket.getPeerX509Certificate();
  } catch {
    // Nobody there, or nobody who speaks TLS: the caller says so.
    return undefined;
  } finally {
    socket.destroy();
  }
}
