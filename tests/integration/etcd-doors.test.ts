/** Who gets into a real member of etcd: whom its own authority has certified, and nobody else, at neither port. */
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readdir, stat } from "node:fs/promises";
import { connect } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EtcdTls } from "../../cluster/src/store/etcd-endpoints.ts";
import { openEtcd } from "../../cluster/src/store/etcd-gateway.ts";
import type { EtcdServer } from "../../cluster/src/store/etcd-server.ts";
import type { Authority, ServerCertificate } from "../../cluster/src/trust/authority.ts";
import { makeAuthority } from "../support/authority.ts";
import { openTestMembers, put, type TestMembers } from "../support/etcd-members.ts";

const HOSTS = ["127.0.0.1"];
const DAY_MS = 86_400_000;
const WAIT = { timeout: 30_000, interval: 20 };

let etcd: TestMembers;
let other: Authority;
let server: EtcdServer;
beforeAll(async () => {
  etcd = await openTestMembers();
  other = makeAuthority();
  server = await etcd.start("a", { kind: "first" });
});
afterAll(() => etcd?.stop());

/** What it answers to one request of whoever shows this, or how it refuses. */
async function told(url: string, shown: ServerCertificate | undefined, path = "/version"): Promise<string> {
  const { port } = new URL(url);
  const options: ConnectionOptions = { host: "127.0.0.1", port: Number(port), ca: etcd.authority.etcd.certificate };
  const socket = connectTls({ ...options, ...(shown !== undefined && { cert: shown.chain, key: shown.key }) });
  const over = Promise.withResolvers<string>();
  let heard = "";
  socket.on("data", (piece: Buffer) => (heard += piece.toString("latin1")));
  socket.on("error", ({ code }: NodeJS.ErrnoException) => over.resolve(`${REFUSED}${heard}${code}`));
  socket.on("close", () => over.resolve(heard === "" ? REFUSED : heard));
  socket.once("secureConnect", () => socket.write(`GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n`));
  return over.promise;
}
const REFUSED = "refused ";

const now = Date.now();
const leafOf = ({ chain }: ServerCertificate): string => chain.slice(0, chain.indexOf("-----BEGIN", 1));
const strangers = (): [what: string, shown: ServerCertificate | undefined][] => {
  const { authority } = etcd;
  const underEtcds = (shown: ServerCertificate): ServerCertificate => ({ ...shown, chain: leafOf(shown) + authority.etcd.certificate });
  return [
    ["nobody", undefined],
    ["a coordinator of another cluster", other.etcd.certifyClient(now)],
    ["a member of another cluster", other.etcd.certifyMember(HOSTS, now).client],
    ["the same, with this cluster's authority beside it", underEtcds(other.etcd.certifyMember(HOSTS, now).client)],
    ["a server of this cluster", authority.certify(HOSTS, now)],
    ["the same, with etcd's authority beside it", underEtcds(authority.certify(HOSTS, now))],
    ["a member, by what it shows to others as a server", authority.etcd.certifyMember(HOSTS, now).server],
    ["a coordinator whose certificate has run out", authority.etcd.certifyClient(now - 100 * DAY_MS)],
  ];
};

describe("a member's listeners", () => {
  test("hear a coordinator at the one for clients, and members at both", async () => {
    const coordinator = etcd.authority.etcd.certifyClient(now);
    const member = etcd.authority.etcd.certifyMember(HOSTS, now).client;
    expect(await told(server.clientUrl, coordinator)).toContain("3.5");
    expect(await told(server.clientUrl, member)).toContain("3.5");
    expect(await told(server.peerUrl, member, "/members")).toContain("peerURLs");
    expect(await told(server.peerUrl, coordinator, "/members")).toMatch(/^refused /);
  });

  test("hear no stranger, at either port", async () => {
    for (const [what, shown] of strangers()) {
      expect([what, await told(server.clientUrl, shown)]).toEqual([what, expect.stringMatching(/^refused ERR_SSL/)]);
      expect([what, await told(server.peerUrl, shown, "/members")]).toEqual([what, expect.stringMatching(/^refused ERR_SSL/)]);
    }
  });

  test("say nothing in the clear, and its files are closed to others", async () => {
    for (const url of [server.clientUrl, server.peerUrl]) {
      const socket = connect(Number(new URL(url).port), "127.0.0.1", () => socket.write("GET /version HTTP/1.1\r\nhost: a\r\n\r\n"));
      let heard = "";
      socket.on("data", (piece: Buffer) => (heard += piece.toString("latin1")));
      socket.on("error", () => socket.destroy());
      await once(socket, "close");
      expect(heard).toBe("");
    }
    if (process.platform === "win32") return;
    const folder = etcd.folderOf("a");
    for (const name of await readdir(folder)) expect([name, (await stat(`${folder}/${name}`)).mode & 0o077]).toEqual([name, 0]);
  });

  test("give a client that they do not take no answer, and it knows that nothing has happened", async () => {
    const own = etcd.authority.etcd.certifyClient(now);
    const tries = [
      ...strangers().map(([, shown]) => ({ authority: own.authority, ...(shown && { certificate: shown.chain, key: shown.key }) })),
      { authority: other.etcd.certificate, certificate: own.chain, key: own.key },
    ];
    for (const tls of tries) {
      const client = openEtcd({ endpoints: [server.clientUrl], tls });
      await expect(put(client, "x")).rejects.toMatchObject({ kind: "unreachable", mayHaveHappened: false });
      client.close();
    }
    expect((await etcd.client().range({ from: "x", to: "y" })).entries).toEqual([]);
  });
});

test("a client shows another certificate from its next connection on, and what is under way is answered", async () => {
  const { authority } = etcd;
  const trustBy = ({ chain, key }: ServerCertificate): EtcdTls => ({ authority: authority.etcd.certificate, certificate: chain, key });
  let tls = trustBy(authority.etcd.certifyClient(now));
  const client = openEtcd({ endpoints: [server.clientUrl], tls: () => tls });
  await put(client, "renewed/0");
  const underWay = Array.from({ length: 30 }, (_, at) => put(client, `renewed/${at}`));
  tls = trustBy(other.etcd.certifyClient(now));
  await expect(client.status()).rejects.toMatchObject({ kind: "unreachable" });
  tls = trustBy(authority.etcd.certifyClient(now));
  expect((await client.status()).member).toBe(server.member);
  expect((await Promise.all(underWay)).every(({ held }) => held)).toBe(true);
  client.close();
});

const shownAt = async (url: string): Promise<string> => {
  const { chain: cert, key } = etcd.authority.etcd.certifyMember(HOSTS, now).client;
  const socket = connectTls({ host: "127.0.0.1", port: Number(new URL(url).port), ca: etcd.authority.etcd.certificate, cert, key });
  await once(socket, "secureConnect");
  const shown = socket.getPeerX509Certificate()?.fingerprint256 ?? "";
  socket.destroy();
  return shown;
};

test("another certificate is shown at both ports from the next connection on, and who is connected stays", async () => {
  await etcd.add("b");
  const client = etcd.client("a");
  const over = new AbortController();
  const changes = client.watch("seen", 1, over.signal)[Symbol.asyncIterator]();
  await put(client, "seen", { value: "1" });
  await changes.next();
  const pid = server.pid;
  const next = etcd.authority.etcd.certifyMember(HOSTS, now + 10 * 60_000);
  await server.renew(next);
  const { fingerprint256 } = new X509Certificate(next.server.chain);
  expect([await shownAt(server.clientUrl), await shownAt(server.peerUrl)]).toEqual([fingerprint256, fingerprint256]);
  await put(client, "seen", { value: "2" });
  expect((await changes.next()).value?.[0]?.value?.toString()).toBe("2");
  over.abort();
  expect(server.pid).toBe(pid);
  // Its gateway calls itself with the new one, and so do the members each other after they were apart.
  expect((await server.status()).member).toBe(server.member);
  const b = etcd.servers.get("b") as EtcdServer;
  process.kill(b.pid as number, "SIGKILL");
  await expect
    .poll(
      () =>
        b.pid !== undefined &&
        b.whenReady(1_000).then(
          () => true,
          () => false,
        ),
      WAIT,
    )
    .toBe(true);
  await put(client, "seen", { value: "3" });
});
