/**
 * Whom a client takes a server's word for, and what it says when a certificate is refused. The texts name the next step; who
 * refuses is OpenSSL, behind node:https and the bus's client.
 *
 * C1. A refused certificate is never tried again by itself: somebody else may be in between. One that this machine's clock
 *     calls too young or too old is: clocks are set by themselves, soon after a machine's start.
 */
import { ClusterError } from "../errors.ts";

/** Authorities that are believed, and nobody else. */
export interface Trust {
  /** PEM. */
  readonly authorities: readonly string[];
  /** The file that holds the last of them, for people. */
  readonly file: string;
}

const UNTIMELY: Readonly<Record<string, string>> = {
  CERT_NOT_YET_VALID: "is not valid yet",
  CERT_HAS_EXPIRED: "has run out",
};
/** OpenSSL's words for a chain that does not end at an authority that is believed. */
const FOREIGN: ReadonlySet<string> = new Set([
  "CERT_CHAIN_TOO_LONG",
  "CERT_REJECTED",
  "CERT_REVOKED",
  "CERT_SIGNATURE_FAILURE",
  "CERT_UNTRUSTED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "INVALID_CA",
  "INVALID_PURPOSE",
  "PATH_LENGTH_EXCEEDED",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);
const NAMELESS = "ERR_TLS_CERT_ALTNAME_INVALID";
const NO_TLS: ReadonlySet<string> = new Set(["ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_PACKET_LENGTH_TOO_LONG"]);
const CAUSES_MAX = 8;

/** undefined: this failure is not about a certificate. `where`: the server's address, for people. */
export function certificateFault(failure: unknown, where: string, trust: Trust | undefined): ClusterError | undefined {
  let cause = failure;
  for (let depth = 0; depth < CAUSES_MAX && cause instanceof Error; depth++, cause = cause.cause) {
    const { code = "" } = cause as { code?: string };
    const options = { cause: failure };
    const untimely = UNTIMELY[code];
    if (untimely !== undefined)
      return new ClusterError("clock_apart", `by this machine's clock the certificate of ${where} ${untimely}`, options);
    const text = refusalText(code, cause as { cert?: { subjectaltname?: string } }, where, trust);
    if (text !== undefined) return new ClusterError("certificate_refused", text, options);
  }
  return undefined;
}

function refusalText(
  code: string,
  { cert }: { cert?: { subjectaltname?: string } },
  where: string,
  trust: Trust | undefined,
): string | undefined {
  if (FOREIGN.has(code)) return trust === undefined ? unknownText(where) : foreignText(where, trust.file);
  if (code === NAMELESS)
    return (
      `the certificate of ${where} is not for that address but for ${cert?.subjectaltname ?? "others"}. ` +
      "Use one of these, or add it on the coordinator (config set api.allowedHosts) and start it anew"
    );
  if (NO_TLS.has(code)) return `what answers at ${where} does not speak TLS. Is its address http://?`;
  return undefined;
}

function unknownText(where: string): string {
  return (
    `nobody whom this machine trusts has certified ${where}. Name the certificate of the coordinator's authority, data/authority.pem ` +
    "in its folder: --ca <file>, OPENCLAW_CLUSTER_CA or coordinator.caFile"
  );
}

function foreignText(where: string, file: string): string {
  return (
    `the authority in ${file} has not certified ${where}: that is another coordinator, or somebody in between. ` +
    "If the coordinator was set up anew, join it with a new code, or put its data/authority.pem there"
  );
}
