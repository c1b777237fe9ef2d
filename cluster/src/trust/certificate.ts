/**
 * Makes certificates (RFC 5280): that of an authority, which signs itself, and those of servers, which it signs. Two fixed shapes,
 * written by hand: packages that make any certificate cost more than all of this (docs/decisions/0008-tls.md). Reading and
 * checking them is OpenSSL's work, and the tests have it judge these.
 *
 * C1. The name of who signs is byte for byte the name in the authority's own certificate: both are written here.
 */
import { createPrivateKey, createPublicKey, hash, randomBytes, sign, type KeyObject } from "node:crypto";
import { isIPv4, isIPv6 } from "node:net";
import { bits, explicit, implicit, integer, octets, oid, sequence, setOf, text, time, yes, type Der } from "./der.ts";

export interface Validity {
  /** ms since 1970. */
  readonly from: number;
  readonly to: number;
}

export interface AuthorityWish extends Validity {
  /** The coordinator's public key, `U…`: whoever knows this certificate knows that too. */
  readonly coordinatorKey: string;
  /** PEM, P-256. */
  readonly key: string;
}

export interface ServerWish extends Validity {
  /** The server's own key, PEM; of it only the public half gets into the certificate. */
  readonly key: string;
  /** Names and addresses that the server goes by. */
  readonly hosts: readonly string[];
  /** It shows it also where it calls another one: a server of one cluster to its like. */
  readonly calls?: boolean;
  readonly authority: { readonly key: string; readonly coordinatorKey: string };
}

export const ORGANIZATION = "openclaw-cluster";
const OID = {
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  commonName: "2.5.4.3",
  organization: "2.5.4.10",
  subjectKey: "2.5.29.14",
  keyUsage: "2.5.29.15",
  otherNames: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKey: "2.5.29.35",
  purpose: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;
const VERSION_3 = Uint8Array.of(2);
/** Bits from the left: 0 signs what is agreed on in a handshake, 5 certificates, 6 lists of revoked ones. */
const SIGNS_HANDSHAKES = bits(Uint8Array.of(0b1000_0000), 7);
const SIGNS_CERTIFICATES = bits(Uint8Array.of(0b0000_0110), 1);
/** The kinds of name, of RFC 5280's GeneralName. */
const DNS_NAME = 2;
const IP_ADDRESS = 7;
const SERIAL_BYTES = 16;
const KEY_ID_BYTES = 20;
const LINE_CHARS = 64;

/** PEM. */
export function makeAuthorityCertificate({ coordinatorKey, key, from, to }: AuthorityWish): string {
  const name = nameOf(coordinatorKey);
  const noFurtherAuthorities = integer(Uint8Array.of(0));
  return certificate({ subject: name, issuer: name, from, to, key: createPublicKey(key) }, createPrivateKey(key), [
    extension(OID.basicConstraints, sequence(yes(), noFurtherAuthorities), "critical"),
    extension(OID.keyUsage, SIGNS_CERTIFICATES, "critical"),
  ]);
}

/** PEM. */
export function makeServerCertificate({ key, hosts, calls = false, authority, from, to }: ServerWish): string {
  const signer = createPrivateKey(authority.key);
  const issuer = nameOf(authority.coordinatorKey);
  return certificate({ subject: nameOf("coordinator"), issuer, from, to, key: createPublicKey(key) }, signer, [
    extension(OID.basicConstraints, sequence(), "critical"),
    extension(OID.keyUsage, SIGNS_HANDSHAKES, "critical"),
    extension(OID.purpose, sequence(oid(OID.serverAuth), ...(calls ? [oid(OID.clientAuth)] : []))),
    extension(OID.otherNames, sequence(...hosts.map(otherName))),
    extension(OID.authorityKey, sequence(implicit(0, keyId(createPublicKey(signer))))),
  ]);
}

interface Body extends Validity {
  readonly subject: Der;
  readonly issuer: Der;
  readonly key: KeyObject;
}

function certificate({ subject, issuer, from, to, key }: Body, signer: KeyObject, extensions: readonly Der[]): string {
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const all = sequence(...extensions, extension(OID.subjectKey, octets(keyId(key))));
  const signed = sequence(
    explicit(0, integer(VERSION_3)),
    integer(serialNumber()),
    algorithm,
    issuer,
    sequence(time(from), time(to)),
    subject,
    spkiOf(key),
    explicit(3, all),
  );
  const whole = Buffer.from(sequence(signed, algorithm, bits(sign("sha256", signed, signer)))).toString("base64");
  const lines = whole.match(new RegExp(`.{1,${LINE_CHARS}}`, "g")) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}

function nameOf(commonName: string): Der {
  const part = (kind: string, said: string): Der => setOf(sequence(oid(kind), text(said)));
  return sequence(part(OID.commonName, commonName), part(OID.organization, ORGANIZATION));
}

/** Critical: who does not understand it must refuse the certificate. */
function extension(kind: string, content: Der, critical?: "critical"): Der {
  return sequence(oid(kind), ...(critical === undefined ? [] : [yes()]), octets(content));
}

function otherName(host: string): Der {
  if (isIPv4(host)) return implicit(IP_ADDRESS, Uint8Array.from(host.split("."), Number));
  if (isIPv6(host)) return implicit(IP_ADDRESS, bytesOfIPv6(host));
  return implicit(DNS_NAME, Buffer.from(host, "latin1"));
}

function bytesOfIPv6(address: string): Uint8Array {
  // A URL writes an address in the one right way: groups of hexadecimal digits, the longest row of zeros as `::`.
  const [head = "", tail = ""] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const groups = (part: string): string[] => part.split(":").filter(Boolean);
  const zeros = Array.from({ length: 8 - groups(head).length - groups(tail).length }, () => "0");
  const all = [...groups(head), ...zeros, ...groups(tail)];
  return Buffer.from(all.map((group) => group.padStart(4, "0")).join(""), "hex");
}

const spkiOf = (key: KeyObject): Buffer => key.export({ type: "spki", format: "der" });

/** Any short name of a key does that is the same each time (RFC 7093). */
const keyId = (key: KeyObject): Uint8Array => hash("sha256", spkiOf(key), "buffer").subarray(0, KEY_ID_BYTES);

/** Random, and never zero. */
function serialNumber(): Uint8Array {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}
