/**
 * The certificate that the API and nats-server show, where they speak TLS: made at each start, and again while they run.
 *
 * R1. A machine that sleeps, or whose clock is set, finds out within LOOK_MS of being awake that another one is due.
 * R2. One that cannot be made or taken leaves the one before in place, and is tried again at the next look.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Clock, Timer } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { isDue, type Authority, type ServerCertificate } from "../trust/authority.ts";

/** A third of 90 days is left when it is due. */
const LOOK_MS = 3_600_000;

export interface CertificateParts {
  readonly authority: Pick<Authority, "certify" | "expiresAt">;
  readonly hosts: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
}

/** The first one. Throws config_invalid where the authority's own time is over, or has not come by this machine's clock. */
export function firstCertificate({ authority, hosts, clock }: CertificateParts): ServerCertificate {
  const now = clock.wall();
  if (now < authority.expiresAt) return authority.certify(hosts, now);
  throw new ClusterError(
    "config_invalid",
    `the authority of this coordinator is good until ${new Date(authority.expiresAt).toISOString()}, and this machine's clock shows ${new Date(now).toISOString()}`,
  );
}

/** `take`: whoever shows it, one after the other. */
export function renewCertificates(
  parts: CertificateParts,
  first: ServerCertificate,
  take: readonly ((certificate: ServerCertificate) => Promise<void> | void)[],
): { close(): Promise<void> } {
  const { authority, hosts, clock, log } = parts;
  let current = first;
  let timer: Timer | undefined;
  let looking: Promise<void> = Promise.resolve();
  let closed = false;
  const look = async (): Promise<void> => {
    try {
      const now = clock.wall();
      if (!isDue(current, now)) return;
      const next = authority.certify(hosts, now);
      for (const show of take) await show(next);
      current = next;
      log.info({ until: new Date(next.validity.to).toISOString() }, "the API and nats-server have another certificate");
    } catch (error) {
      log.error({ err: error }, "no other certificate could be put in place; trying again in an hour");
    } finally {
      if (!closed) wait();
    }
  };
  const wait = (): void => {
    timer = clock.after(LOOK_MS, () => void (looking = look()));
  };
  wait();
  return {
    async close() {
      closed = true;
      timer?.cancel();
      await looking;
    },
  };
}
