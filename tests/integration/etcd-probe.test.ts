/** An etcd that somebody else runs: the probe says whether it serves, and what to do where it does not. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { probeEtcd } from "../../cluster/src/store/etcd-probe.ts";
import { makeAuthority } from "../support/authority.ts";
import { startPlainEtcd } from "../support/etcd-members.ts";

const WAIT = { timeout: 30_000, interval: 50 };
const cleanUp: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of cleanUp.splice(0).toReversed()) await step();
});

async function start(flags: readonly string[] = [], scheme = "http"): Promise<string> {
  const { url, stop } = await startPlainEtcd(flags, scheme);
  cleanUp.push(stop);
  return url;
}

const seen = async (...endpoints: string[]): Promise<unknown> =>
  probeEtcd({ endpoints }).then(
    ({ faults }) => faults.map(({ code }) => code),
    ({ code, detail }: { code: string; detail: string }) => `${code}: ${detail}`,
  );

test("one that serves serves, also beside one that is not there; what is asked leaves nothing behind", async () => {
  const url = await start();
  await expect.poll(() => seen(url), WAIT).toEqual([]);
  expect(await probeEtcd({ endpoints: [url] })).toMatchObject({ version: expect.stringMatching(/^3\./) as string });
  expect(await seen("http://127.0.0.1:9", url)).toEqual(["unavailable"]);
});

test("addresses that are none, or that others could read along", async () => {
  expect(await seen("etcd:2379")).toMatch(/^config_invalid: .*https:\/\/host:2379/);
  expect(await seen("http://192.168.1.5:2379")).toMatch(/^config_invalid: .*speak TLS/);
  expect(await seen("http://127.0.0.1:9")).toMatch(/^unavailable: .*ECONNREFUSED/);
});

test("two clusters are not one", async () => {
  const urls = [await start(), await start()];
  await expect.poll(() => seen(...urls), WAIT).toMatch(/^config_invalid: .*not of one etcd cluster/);
});

test("without its gateway, or with smaller transactions", async () => {
  const closed = await start(["--enable-grpc-gateway=false"]);
  await expect.poll(() => seen(closed), WAIT).toMatch(/^config_invalid: .*--enable-grpc-gateway/);
  const small = await start(["--max-txn-ops", "64"]);
  await expect.poll(() => seen(small), WAIT).toMatch(/^config_invalid: .*--max-txn-ops/);
});

test("in alarm, or wanting a user's name", async () => {
  const url = await start();
  await expect.poll(() => seen(url), WAIT).toEqual([]);
  const post = async (path: string, body: unknown): Promise<void> => {
    const answer = await fetch(url + path, { method: "POST", body: JSON.stringify(body) });
    expect([path, answer.status]).toEqual([path, 200]);
  };
  for (const alarm of ["NOSPACE", "CORRUPT"]) {
    await post("/v3/maintenance/alarm", { action: "ACTIVATE", alarm });
    expect(await seen(url)).toMatch(alarm === "NOSPACE" ? /^storage_full: .*disarm/ : /^unavailable: .*CORRUPT/);
    await post("/v3/maintenance/alarm", { action: "DEACTIVATE", alarm });
  }
  await post("/v3/auth/user/add", { name: "root", password: "r" });
  await post("/v3/auth/user/grant", { user: "root", role: "root" });
  await post("/v3/auth/enable", {});
  expect(await seen(url)).toMatch(/^unauthorized: .*certificate only/);
});

test("over TLS: an authority that is not believed, a certificate that it wants", async () => {
  const [authority, other] = [makeAuthority().etcd, makeAuthority().etcd];
  const { server } = authority.certifyMember(["127.0.0.1"], Date.now());
  const folder = await mkdtemp(join(tmpdir(), "ocx-etcd-"));
  cleanUp.push(() => rm(folder, { recursive: true, force: true }));
  const [file, ca] = [join(folder, "server.pem"), join(folder, "ca.pem")];
  await writeFile(file, server.chain + server.key);
  await writeFile(ca, authority.certificate);
  const client = authority.certifyClient(Date.now());
  await writeFile(join(folder, "client.pem"), client.chain + client.key);
  const flags = ["--cert-file", file, "--key-file", file, "--client-cert-auth", "--trusted-ca-file", ca];
  const url = await start(
    [...flags, ...["--client-cert-file", join(folder, "client.pem"), "--client-key-file", join(folder, "client.pem")]],
    "https",
  );
  const own = { authority: authority.certificate, certificate: client.chain, key: client.key };
  const verdict = (tls: object): Promise<unknown> =>
    probeEtcd({ endpoints: [url], tls, authorityFile: "etcd-ca.pem" }).then(
      () => "serves",
      ({ code, detail }: { code: string; detail: string }) => `${code}: ${detail}`,
    );
  await expect.poll(() => verdict(own), WAIT).toBe("serves");
  expect(await verdict({ authority: own.authority })).toMatch(/^unauthorized: .*wants a client certificate/);
  const stranger = other.certifyClient(Date.now());
  expect(await verdict({ ...own, certificate: stranger.chain, key: stranger.key })).toMatch(/^unauthorized: .*does not take this/);
  expect(await verdict({ ...own, authority: other.certificate })).toMatch(/^certificate_refused: .*authority in etcd-ca\.pem/);
  expect(await seen(url.replace("https", "http"))).toMatch(/^unavailable: /);
  const plain = await start();
  const crossed = await probeEtcd({ endpoints: [plain.replace("http", "https")], tls: own }).catch((error: unknown) => error);
  expect(crossed).toMatchObject({ code: expect.stringMatching(/^(certificate_refused|unavailable)$/) as string });
  // A gateway that shows a server's certificate to its own member: etcd's trouble where no client's is named.
  const bare = await start(flags, "https");
  const asked = (): Promise<string> =>
    probeEtcd({ endpoints: [bare], tls: own }).then(
      () => "serves",
      (error: Error) => error.message,
    );
  await expect.poll(asked, WAIT).toMatch(/^unavailable: .*--client-cert-file/);
});
