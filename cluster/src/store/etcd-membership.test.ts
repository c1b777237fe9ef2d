/** How a member starts, from what it kept of itself and what is on its disk. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { lastComplaint, memberFlags } from "./etcd-flags.ts";
import { hasData, howToStart, readMembership, writeMembership, type Membership } from "./etcd-membership.ts";

const own: Membership = { name: "studio", clientUrl: "https://127.0.0.1:2379", peerUrl: "https://127.0.0.1:2380" };
const served = { ...own, id: "a1" };
const FIRST = { kind: "first" } as const;
const joining = (member: string) => ({ kind: "join", ticket: { member, initialCluster: "a=https://h:1,studio=https://h:2" } }) as const;
const alone = "studio=https://127.0.0.1:2380";

it("begins a cluster, joins one, or goes on, as its disk says", () => {
  expect(howToStart(own, false, FIRST)).toEqual({ initialState: "new", initialCluster: alone, member: undefined, isFirst: true });
  const joins = { initialState: "existing", initialCluster: joining("b2").ticket.initialCluster, member: "b2", isFirst: true };
  expect(howToStart(own, false, joining("b2"))).toEqual(joins);
  const goesOn = { initialState: "existing", initialCluster: alone, member: "a1", isFirst: false };
  expect([howToStart(served, true, undefined), howToStart(served, true, FIRST), howToStart(served, true, joining("b2"))]).toEqual([
    goesOn,
    goesOn,
    goesOn,
  ]);
});

it("does not start as itself without its data, and as another only with that one's ticket (M1)", () => {
  for (const beginning of [undefined, FIRST, joining("a1")])
    expect(() => howToStart(served, false, beginning)).toThrow(expect.objectContaining({ code: "state_conflict" }) as Error);
  expect(() => howToStart(own, false, undefined)).toThrow(expect.objectContaining({ code: "state_conflict" }) as Error);
  expect(howToStart(served, false, joining("b2"))).toMatchObject({ member: "b2", isFirst: true });
});

it("keeps what it is in its folder, and says so where that was spoilt", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ocx-etcd-"));
  try {
    expect(await readMembership(folder)).toBeUndefined();
    await writeMembership(folder, served);
    expect(await readMembership(folder)).toEqual(served);
    await writeFile(join(folder, "member.json"), "{");
    await expect(readMembership(folder)).rejects.toMatchObject({ code: "config_invalid" });
    expect(await hasData(folder)).toBe(false);
    await mkdir(join(folder, "data", "member", "wal"), { recursive: true });
    expect(await hasData(folder)).toBe(false);
    await writeFile(join(folder, "data", "member", "wal", "0-0.wal"), "");
    expect(await hasData(folder)).toBe(true);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

it("listens with TLS only, wants a certificate on both sides, and waits ten heartbeats for a leader", () => {
  const flags = memberFlags({ ...own, folder: "/home/a,b", initialCluster: alone, initialState: "new", token: "t", heartbeatMs: 250 });
  for (const wanted of ["--client-cert-auth", "--peer-client-cert-auth"]) expect(flags).toContain(wanted);
  for (const file of ["--trusted-ca-file", "--peer-trusted-ca-file"]) expect(flags[flags.indexOf(file) + 1]).toContain("authority.pem");
  expect(flags.filter((flag) => flag.startsWith("http:"))).toEqual([]);
  expect(flags[flags.indexOf("--election-timeout") + 1]).toBe("2500");
  // A comma would part it into two outputs.
  expect(flags[flags.indexOf("--log-outputs") + 1]).toBe("stderr,etcd.log");
});

it("tells etcd's last complaint, whole lines of JSON or not", () => {
  const lines = [
    '"cut":"at its beginning"}',
    '{"level":"warn","msg":"slow"}',
    '{"level":"fatal","msg":"discovery failed","error":"listen tcp: bind: address already in use"}',
    '{"level":"info","msg":"closed"}',
  ];
  expect(lastComplaint(lines.join("\n"))).toBe("discovery failed: listen tcp: bind: address already in use");
  expect(lastComplaint("panic: cannot open\n")).toBe("panic: cannot open");
});
