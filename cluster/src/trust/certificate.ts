/**
 * Makes certificates: that of an authority, which signs itself, and those of servers, which it signs. The only file that knows
 * the package for it; nothing here reads a certificate that came from elsewhere, which is OpenSSL's work (node:crypto, node:tls).
 *
 * C1. The package is loaded when a certificate is made: 150 ms and 24 MB that no other command and no other start pays for.
 */
import { createPrivateKey, createPublicKey, randomBytes, type webcrypto } from "node:crypto";
import { isIP } from "node:net";

export interface Validity {
  /** ms since 1970. */
  readonly from: number;
  readonly to: number;
}

export interface AuthorityWish extends Validity {
  /** The coordinator's public key, `U…`: whoever knows this certificate knows that too. */
  readonly coordinatorKey: string;
  /** PEM. */
  readonly key: string;
}

export interface ServerWish extends Validity {
  /** The server's own key, PEM; of it only the public half gets into the certificate. */
  readonly key: string;
  /** Names and addresses that the server goes by. */
  readonly hosts: readonly string[];
  readonly authority: { readonly key: string; readonly certificate: string };
}

export const ORGANIZATION = "openclaw-cluster";
const KEYS = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNING = { ...KEYS, hash: "SHA-256" } as const;
/** The first bit stays clear, so that the number is positive. */
const SERIAL_BYTES = 16;

/** PEM. */
export async function makeAuthorityCertificate({ coordinatorKey, key, from, to }: AuthorityWish): Promise<string> {
  const x509 = await load();
  const subject = [{ CN: [coordinatorKey] }, { O: [ORGANIZATION] }];
  const publicKey = await publicHalf(key);
  const { KeyUsageFlags } = x509;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject,
    issuer: subject,
    notBefore: new Date(from),
    notAfter: new Date(to),
    publicKey,
    signingKey: await privateHalf(key),
    signingAlgorithm: SIGNING,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  return `${certificate.toString("pem")}\n`;
}

/** PEM. */
export async function makeServerCertificate({ key, hosts, authority, from, to }: ServerWish): Promise<string> {
  const x509 = await load();
  const issuer = new x509.X509Certificate(authority.certificate);
  const publicKey = await publicHalf(key);
  const names = hosts.map((value) => ({ type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const), value }));
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [{ CN: ["coordinator"] }, { O: [ORGANIZATION] }],
    issuer: issuer.subjectName.toJSON(),
    notBefore: new Date(from),
    notAfter: new Date(to),
    publicKey,
    signingKey: await privateHalf(authority.key),
    signingAlgorithm: SIGNING,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(names),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  });
  return `${certificate.toString("pem")}\n`;
}

async function load() {
  // The package finds its parts by metadata of their classes, for which the language has no place yet.
  await import("reflect-metadata");
  return import("@peculiar/x509");
}

function serialNumber(): string {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

async function privateHalf(pem: string): Promise<webcrypto.CryptoKey> {
  return createPrivateKey(pem).toCryptoKey(KEYS, false, ["sign"]);
}

async function publicHalf(pem: string): Promise<webcrypto.CryptoKey> {
  return createPublicKey(pem).toCryptoKey(KEYS, true, ["verify"]);
}
