/** What an authority certifies, judged by Node's own TLS and by node:crypto, not by what made it. */
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect, createServer, type SecureVersion } from "node:tls";
import { beforeAll, describe, expect, it } from "vitest";
import {
  createAuthorityCertificate,
  createKey,
  isDue,
  openAuthority,
  pinOf,
  readCertificate,
  type Authority,
  type ServerCertificate,
} from "./authority.ts";
import { createNodeKeys } from "./keys.ts";

const NOW = Date.now();
const DAY_MS = 86_400_000;
const FILES = { key: "authority.key", certificate: "authority.pem" };
const HOSTS = ["studio.example.org", "studio", "localhost", "127.0.0.1", "::1", "192.168.1.5", "fd12:3456::5"];

let key: string;
let coordinatorKey: string;
let certificate: string;
let authority: Authority;
let shown: ServerCertificate;
beforeAll(async () => {
  key = createKey();
  coordinatorKey = createNodeKeys().publicKey;
  certificate = createAuthorityCertificate(key, coordinatorKey, NOW);
  authority = openAuthority({ key, certificate, coordinatorKey, files: FILES });
  shown = authority.certify(HOSTS, NOW);
});

const open = (more: Partial<Parameters<typeof openAuthority>[0]>): Authority =>
  openAuthority({ key, certificate, coordinatorKey, files: FILES, ...more });

/** What a client that believes `ca` and calls the server `name` says: the protocol, or why it refuses. */
async function handshake(
  certificateOf: ServerCertificate,
  ca: string,
  name: string,
  maxVersion: SecureVersion = "TLSv1.3",
): Promise<string> {
  const server = createServer({ cert: certificateOf.chain, key: certificateOf.key }, (socket) => socket.end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.on("tlsClientError", () => undefined);
  const socket = connect({
    host: "127.0.0.1",
    port: (server.address() as AddressInfo).port,
    servername: /^[a-z.]+$/.test(name) ? name : "",
    ca,
    maxVersion,
    checkServerIdentity: (_, seen) => {
      const { checkServerIdentity } = process.getBuiltinModule("node:tls");
      return checkServerIdentity(name, seen);
    },
  });
  try {
    await once(socket, "secureConnect");
    return socket.getProtocol() ?? "";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  } finally {
    socket.destroy();
    server.close();
  }
}

describe("an authority", () => {
  it("signs itself, names the coordinator's key, certifies no other authorities, and lasts for 20 years (A1)", () => {
    const read = new X509Certificate(certificate);
    expect(read.subject).toBe(`CN=${coordinatorKey}\nO=openclaw-cluster`);
    expect(read.issuer).toBe(read.subject);
    expect(read.verify(read.publicKey)).toBe(true);
    expect(read.ca).toBe(true);
    expect(read.publicKey.asymmetricKeyDetails).toMatchObject({ namedCurve: "prime256v1" });
    const years = (read.validToDate.getTime() - NOW) / (365.25 * DAY_MS);
    expect(years).toBeCloseTo(20, 1);
    expect(authority).toMatchObject({ pin: pinOf(read), expiresAt: read.validToDate.getTime() });
    expect(Buffer.from(authority.pin, "base64url").toString("hex")).toBe(read.fingerprint256.replaceAll(":", "").toLowerCase());
  });

  it("is dated rightly where its time ends beyond 2049, which X.509 writes in another way", async () => {
    const late = createAuthorityCertificate(key, coordinatorKey, Date.UTC(2035, 5, 1));
    expect(new X509Certificate(late).validToDate.getUTCFullYear()).toBe(2055);
  });

  it("is not opened with what does not belong together, and nothing of the key is said (A2, A3)", async () => {
    const other = createKey();
    const foreign = createAuthorityCertificate(other, coordinatorKey, NOW);
    const leaf = shown.chain.slice(0, shown.chain.indexOf("-----END")) + "-----END CERTIFICATE-----\n";
    const wrong: [Partial<Parameters<typeof openAuthority>[0]>, RegExp][] = [
      [{ certificate: foreign }, /authority\.key is not the key of authority\.pem/],
      [{ key: other }, /authority\.key is not the key of authority\.pem/],
      [{ certificate: "" }, /authority\.pem holds no certificate/],
      [{ certificate: key }, /authority\.pem holds no certificate/],
      [{ key: key.slice(0, 90) }, /authority\.key holds no private key/],
      [{ certificate: leaf, key: shown.key }, /authority\.pem is not an authority's certificate/],
      [{ coordinatorKey: createNodeKeys().publicKey }, /authority\.pem was made for another key of the coordinator's/],
    ];
    for (const [more, said] of wrong) {
      expect(() => open(more)).toThrow(
        expect.objectContaining({ code: "config_invalid", detail: expect.stringMatching(said) as string }) as Error,
      );
      expect(() => open(more)).toThrow(
        expect.objectContaining({ detail: expect.stringContaining("has to join again") as string }) as Error,
      );
      expect(() => open(more)).toThrow(
        expect.objectContaining({ message: expect.not.stringContaining(key.slice(40, 60)) as string }) as Error,
      );
    }
  });
});

describe("what it certifies", () => {
  it("is a server with a key of its own, for 90 days, under every name and address", () => {
    const read = new X509Certificate(shown.chain);
    const ca = new X509Certificate(certificate);
    expect(read.checkIssued(ca)).toBe(true);
    expect(read.verify(ca.publicKey)).toBe(true);
    expect(read.ca).toBe(false);
    expect(read.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
    expect(read.validToDate.getTime()).toBeCloseTo(NOW + 90 * DAY_MS, -4);
    expect(shown.key).not.toBe(key);
    for (const host of HOSTS) expect([host, read.checkHost(host) ?? read.checkIP(host)]).toEqual([host, host]);
    expect(read.checkHost("studio.example.com")).toBeUndefined();
    expect(new X509Certificate(shown.chain.slice(shown.chain.indexOf("-----BEGIN", 1))).raw).toEqual(ca.raw);
  });

  it("is one for callers too only where that was asked for", () => {
    const purposes = ({ chain }: ServerCertificate): unknown => new X509Certificate(chain).keyUsage;
    const [server, client] = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];
    expect(purposes(shown)).toEqual([server]);
    expect(purposes(authority.certifyPeer(HOSTS, NOW))).toEqual([server, client]);
  });

  it("is taken by TLS clients that believe the authority, under its names only", async () => {
    expect(await handshake(shown, certificate, "studio.example.org")).toBe("TLSv1.3");
    expect(await handshake(shown, certificate, "192.168.1.5", "TLSv1.2")).toBe("TLSv1.2");
    expect(await handshake(shown, certificate, "fd12:3456::5")).toBe("TLSv1.3");
    expect(await handshake(shown, certificate, "192.168.1.7")).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
  });

  it("is refused by those who believe another authority, also one of the same name", async () => {
    const twin = createAuthorityCertificate(createKey(), coordinatorKey, NOW);
    expect(await handshake(shown, twin, "studio")).toMatch(/SELF_SIGNED|SIGNATURE|UNABLE_TO/);
  });

  it("is taken by those who know the authority from before its certificate was made anew for the same key", async () => {
    const anew = openAuthority({
      key,
      certificate: createAuthorityCertificate(key, coordinatorKey, NOW),
      coordinatorKey,
      files: FILES,
    });
    expect(anew.pin).not.toBe(authority.pin);
    expect(await handshake(anew.certify(HOSTS, NOW), certificate, "studio")).toBe("TLSv1.3");
  });

  it("has its time, of which a day lies in the past for clocks that are behind", async () => {
    expect(await handshake(authority.certify(HOSTS, NOW - 92 * DAY_MS), certificate, "studio")).toBe("CERT_HAS_EXPIRED");
    expect(await handshake(authority.certify(HOSTS, NOW + 2 * DAY_MS), certificate, "studio")).toBe("CERT_NOT_YET_VALID");
    expect(await handshake(authority.certify(HOSTS, NOW + DAY_MS / 2), certificate, "studio")).toBe("TLSv1.3");
  });

  it("is due when less than a third of its time is left, or when the clock says that its time has not come", () => {
    const { from, to } = shown.validity;
    expect(isDue(shown, NOW)).toBe(false);
    expect(isDue(shown, to - (to - from) / 3)).toBe(false);
    expect(isDue(shown, to - (to - from) / 3 + 1)).toBe(true);
    expect(isDue(shown, to + 1)).toBe(true);
    expect(isDue(shown, from - 1)).toBe(true);
  });
});

describe("whom it certifies for etcd", () => {
  const again = (): Authority => open({});

  it("is a server under its addresses, or a client under none, by a name that says which", () => {
    const { server, client } = authority.etcd.certifyMember(HOSTS, NOW);
    const shownBy = [server, client, authority.etcd.certifyClient(NOW)].map(({ chain }) => {
      const { subject, keyUsage, subjectAltName = "" } = new X509Certificate(chain);
      return [subject.split("\n")[0], keyUsage, subjectAltName === ""];
    });
    expect(shownBy).toEqual([
      ["CN=etcd member", ["1.3.6.1.5.5.7.3.1"], false],
      ["CN=etcd member", ["1.3.6.1.5.5.7.3.2"], true],
      ["CN=etcd client", ["1.3.6.1.5.5.7.3.2"], true],
    ]);
  });

  it("is believed by those who believe etcd's authority, whenever that was written", async () => {
    const { server } = authority.etcd.certifyMember(HOSTS, NOW);
    const other = again().etcd.certificate;
    expect(other).not.toBe(authority.etcd.certificate);
    for (const ca of [authority.etcd.certificate, other]) expect(await handshake(server, ca, "studio.example.org")).toBe("TLSv1.3");
    expect(new X509Certificate(other).validTo).toBe(new X509Certificate(certificate).validTo);
  });

  it("is believed by nobody else, as nobody else is believed by etcd, though the key is one", async () => {
    const { server } = authority.etcd.certifyMember(HOSTS, NOW);
    expect(await handshake(server, certificate, "studio")).toMatch(/SELF_SIGNED|UNABLE_TO/);
    expect(await handshake(shown, authority.etcd.certificate, "studio")).toMatch(/SELF_SIGNED|UNABLE_TO/);
    const leaf = shown.chain.slice(0, shown.chain.indexOf("-----BEGIN", 1));
    expect(await handshake({ ...shown, chain: leaf + authority.etcd.certificate }, authority.etcd.certificate, "studio")).toMatch(
      /UNABLE_TO/,
    );
  });

  it("stays within what X.509 allows a name to be", () => {
    const [name = ""] = new X509Certificate(authority.etcd.certificate).subject.split("\n");
    expect(name).toBe(`CN=${coordinatorKey} etcd`);
    expect(name.length - "CN=".length).toBeLessThanOrEqual(64);
  });
});

it("reads a certificate, and nothing else", () => {
  expect(readCertificate(certificate)?.subject).toContain(coordinatorKey);
  for (const text of ["", "x", key, certificate.slice(0, 200)]) expect(readCertificate(text)).toBeUndefined();
});
