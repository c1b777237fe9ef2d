/**
 * A coordinator's authority: an ECDSA key and the certificate that it signed for itself. It certifies the servers of this one
 * coordinator, the API and nats-server; nodes take nobody else's word for them (DESIGN §7). Whom etcd lets in is certified with the
 * same key under another name (`etcd`).
 *
 * A1. The certificate names the coordinator's own key, so one pin, its SHA-256, stands for both.
 * A2. A key and a certificate that do not belong together, or are not what they should be, certify nothing: the start ends,
 *     since another authority would lock out every node that has joined.
 * A3. The key is never logged, sent, or put into an error.
 */
import { createPrivateKey, generateKeyPairSync, hash, X509Certificate, type KeyObject } from "node:crypto";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { makeAuthorityCertificate, makeCertificate, ORGANIZATION, type AuthorityName, type Purpose, type Validity } from "./certificate.ts";

/** What a server, or a client, shows, and the key that it proves it with; both PEM. */
export interface ServerCertificate {
  /** Its own certificate, then the authority's. */
  readonly chain: string;
  readonly key: string;
  /** The authority's certificate alone. */
  readonly authority: string;
  readonly validity: Validity;
}

/** What etcd's listeners and their callers show; none of it counts anywhere else. */
export interface EtcdAuthority {
  /** PEM. Another text at each start, and each of them stands for all: name, key and time are the same. */
  readonly certificate: string;
  /** `hosts`: where the member listens. */
  certifyMember(hosts: readonly string[], now: number): MemberCertificates;
  /** Of a coordinator: it may speak to members and is none. */
  certifyClient(now: number): ServerCertificate;
}

export interface MemberCertificates {
  readonly server: ServerCertificate;
  /** With it a member calls others, and itself. */
  readonly client: ServerCertificate;
}

export interface Authority {
  /** PEM. */
  readonly certificate: string;
  /** SHA-256 of the certificate, base64url. */
  readonly pin: string;
  /** ms since 1970. */
  readonly expiresAt: number;
  /** `hosts`: names and addresses that the server goes by. */
  certify(hosts: readonly string[], now: number): ServerCertificate;
  /** Of a server that also calls its like, and has to show who it is there too. No other certificate opens that door. */
  certifyPeer(hosts: readonly string[], now: number): ServerCertificate;
  readonly etcd: EtcdAuthority;
}

export interface AuthorityParts {
  /** PEM. */
  readonly key: string;
  readonly certificate: string;
  readonly coordinatorKey: string;
  /** Where they lie, for people. */
  readonly files: { readonly key: string; readonly certificate: string };
}

const DAY_MS = 86_400_000;
const AUTHORITY_MS = 20 * 365.25 * DAY_MS;
const SERVER_MS = 90 * DAY_MS;
/** Clocks that are behind by less take a certificate at once. */
const BACKDATED_MS = DAY_MS;

/** PEM. */
export function createKey(): string {
  return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }) as string;
}

/** PEM. */
export function createAuthorityCertificate(key: string, coordinatorKey: string, now: number): string {
  return makeAuthorityCertificate({ key, coordinatorKey, from: now - BACKDATED_MS, to: now + AUTHORITY_MS });
}

/** Throws config_invalid with what is wrong, and what to do (A2). */
export function openAuthority({ key, certificate, coordinatorKey, files }: AuthorityParts): Authority {
  const read = readCertificate(certificate);
  if (read === undefined) throw broken(`${files.certificate} holds no certificate`, files);
  if (!belongTogether(read, privateKeyOf(key, files))) throw broken(`${files.key} is not the key of ${files.certificate}`, files);
  if (!read.ca || !read.verify(read.publicKey)) throw broken(`${files.certificate} is not an authority's certificate`, files);
  if (!isFor(read, coordinatorKey)) throw broken(`${files.certificate} was made for another key of the coordinator's`, files);
  return {
    certificate,
    pin: pinOf(read),
    expiresAt: read.validToDate.getTime(),
    certify: (hosts, now) => certify({ key, certificate, coordinatorKey }, { commonName: "coordinator", purposes: ["server"], hosts }, now),
    certifyPeer: (hosts, now) =>
      certify({ key, certificate, coordinatorKey }, { commonName: "coordinator", purposes: ["server", "client"], hosts }, now),
    etcd: etcdAuthority(key, coordinatorKey, { from: read.validFromDate.getTime(), to: read.validToDate.getTime() }),
  };
}

/** The first certificate of a PEM text; undefined where there is none. */
export function readCertificate(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    // Whatever it is, it is no certificate; who asked says what follows.
    return undefined;
  }
}

export const pinOf = ({ raw }: X509Certificate): string => hash("sha256", raw, "base64url");

/** Is it time for another one? A third of its time is left for trying. */
export function isDue({ validity: { from, to } }: Pick<ServerCertificate, "validity">, now: number): boolean {
  return now > to - (to - from) / 3 || now < from;
}

/** The name of every member's certificates; their listeners take no peer without it. */
export const ETCD_MEMBER = "etcd member";

/**
 * A second authority of the same key under another name. etcd's client listener takes whatever its authority has certified for
 * clients: it can ask for a name only together with the caller's address, which changes. Believing this authority alone, it takes
 * nothing that was certified for any other use, now or later; and there is no further key to keep, copy or lose.
 */
function etcdAuthority(key: string, coordinatorKey: string, validity: Validity): EtcdAuthority {
  const name = { coordinatorKey, realm: "etcd" } as const;
  const authority = { key, ...name, certificate: makeAuthorityCertificate({ key, ...name, ...validity }) };
  const client = (commonName: string, now: number): ServerCertificate =>
    certify(authority, { commonName, purposes: ["client"], hosts: [] }, now);
  return {
    certificate: authority.certificate,
    certifyMember: (hosts, now) => ({
      server: certify(authority, { commonName: ETCD_MEMBER, purposes: ["server"], hosts }, now),
      client: client(ETCD_MEMBER, now),
    }),
    certifyClient: (now) => client("etcd client", now),
  };
}

interface Certifying extends AuthorityName {
  readonly key: string;
  readonly certificate: string;
}

function certify(
  authority: Certifying,
  { hosts, ...wish }: { commonName: string; purposes: readonly Purpose[]; hosts: readonly string[] },
  now: number,
): ServerCertificate {
  const key = createKey();
  const validity = { from: now - BACKDATED_MS, to: now + SERVER_MS };
  const own = makeCertificate({ ...wish, key, hosts: [...new Set(hosts)], authority, ...validity });
  return { chain: own + authority.certificate, key, authority: authority.certificate, validity };
}

function privateKeyOf(pem: string, files: AuthorityParts["files"]): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // The cause is left out on purpose (A3).
    throw broken(`${files.key} holds no private key`, files);
  }
}

function belongTogether(certificate: X509Certificate, key: KeyObject): boolean {
  return key.asymmetricKeyType === "ec" && certificate.checkPrivateKey(key);
}

function isFor({ subject }: X509Certificate, coordinatorKey: string): boolean {
  const names = subject.split("\n");
  return names.includes(`CN=${coordinatorKey}`) && names.includes(`O=${ORGANIZATION}`);
}

function broken(what: string, { key, certificate }: AuthorityParts["files"]): ClusterError {
  return new ClusterError(
    "config_invalid",
    `${what}. Put both files back as they were; or remove ${key} and ${certificate}, and the next start makes an authority anew: ` +
      "then every machine that reaches this one over TLS has to join again",
  );
}
