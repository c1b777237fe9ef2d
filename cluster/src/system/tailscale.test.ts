import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  NEEDS_LOGIN,
  NO_DAEMON,
  RUNNING,
  SELF,
  STARTING,
  STOPPED,
  tailscaleStub,
  type TailscaleStub,
} from "../../../tests/support/tailscale.ts";
import { askTailscale, tailnetAddress, tailscaleAdvice, tailscalePrograms, tailscaleState, type RunningTailscale } from "./tailscale.ts";

let stub: TailscaleStub;
beforeEach(() => {
  stub = tailscaleStub();
});
afterEach(() => stub.remove());
const ask = (more: { timeoutMs?: number } = {}): ReturnType<typeof askTailscale> => askTailscale({ env: stub.env, ...more });

// The stub is a shell script.
describe.skipIf(process.platform === "win32")("what Tailscale says", () => {
  it("running: addresses, name, tailnet and the other machines", async () => {
    const found = (await ask()) as RunningTailscale;
    expect(found).toEqual({
      kind: "running",
      ip4: SELF.ip4,
      ip6: SELF.ip6,
      magicDnsName: SELF.name,
      tailnet: "ann@example.com",
      peers: [
        { name: "nas2.tail1a2b3.ts.net", ips: ["100.70.0.2", "fd7a:115c:a1e0::4600:2"], os: "linux", online: true },
        { name: "ann-s-macbook-air.tail1a2b3.ts.net", ips: ["100.70.0.3"], os: "macOS", online: false },
        { name: "pixel-9.tail1a2b3.ts.net", ips: ["100.70.0.4"], os: "android", online: true },
      ],
    });
    expect(tailnetAddress(found)).toBe(SELF.ip4);
    expect(stub.calls()).toEqual(["status --json"]);
  });

  it("without MagicDNS there is no name to use, and without IPv4 the other address counts", async () => {
    const { ip6 } = SELF;
    stub.says({
      ...RUNNING,
      TailscaleIPs: [ip6],
      Self: { ...RUNNING.Self, TailscaleIPs: [ip6] },
      CurrentTailnet: { ...RUNNING.CurrentTailnet, MagicDNSEnabled: false },
    });
    const found = (await ask()) as RunningTailscale;
    expect(found).not.toHaveProperty("magicDnsName");
    expect(tailnetAddress(found)).toBe(ip6);
  });

  it.each([
    ["stopped", STOPPED, { kind: "stopped", reason: "it is stopped" }],
    ["starting", STARTING, { kind: "stopped", reason: "it is starting" }],
    ["logged out", NEEDS_LOGIN, { kind: "needs_login", reason: "it is logged out" }],
    [
      "not approved yet",
      { ...NEEDS_LOGIN, BackendState: "NeedsMachineAuth" },
      { kind: "needs_login", reason: expect.stringContaining("approve") },
    ],
    ["without an address", { ...RUNNING, TailscaleIPs: null, Self: null }, { kind: "stopped", reason: "it has no address yet" }],
    ["in a new state", { ...RUNNING, BackendState: "Dreaming" }, { kind: "unclear", reason: expect.stringContaining("state") }],
  ])("%s", async (_what, answer, found) => {
    stub.says(answer);
    expect(await ask()).toEqual(found);
    expect(JSON.stringify(await ask())).not.toContain("login.tailscale.com");
  });

  it("its daemon is not there", async () => {
    stub.fails(`${NO_DAEMON}\nmore`);
    expect(await ask()).toEqual({ kind: "stopped", reason: NO_DAEMON });
  });

  it.each([
    ["nothing", ""],
    ["no JSON", "{"],
    ["another thing", "[1]"],
    ["half of it", { Version: "1" }],
  ])("%s: it says so", async (_what, answer) => {
    stub.says(answer);
    expect(await ask()).toMatchObject({ kind: "unclear" });
  });

  it("no answer in time", async () => {
    stub.hangs();
    expect(await ask({ timeoutMs: 100 })).toEqual({ kind: "unclear", reason: "tailscale gave no answer in 0.1 s" });
  });

  it("more than anybody can have to say", async () => {
    stub.says(`{"BackendState":"${"x".repeat(17 * 1024 * 1024)}"}`);
    expect(await ask()).toMatchObject({ kind: "unclear", reason: expect.stringContaining("bytes") });
  });

  it("what is no address of a tailnet, no name, or no machine goes no further (T1)", async () => {
    const peers = Object.fromEntries(Array.from({ length: 1_200 }, (_, n) => [`nodekey:${n}`, { ...RUNNING.Peer["nodekey:02"] }]));
    stub.says({
      ...RUNNING,
      TailscaleIPs: ["192.168.1.5", SELF.ip4],
      Self: { ...RUNNING.Self, TailscaleIPs: ["10.0.0.1", "100.64.0.1 ", "fe80::1"], DNSName: 'studio" evil/' },
      CurrentTailnet: { ...RUNNING.CurrentTailnet, Name: "a\u001b[2Jb" },
      Peer: { bad: { HostName: 5 }, none: null, ...peers },
    });
    const found = (await ask()) as RunningTailscale;
    expect(found).toMatchObject({ kind: "running", ip4: SELF.ip4, tailnet: "a[2Jb" });
    expect(found).not.toHaveProperty("ip6");
    expect(found).not.toHaveProperty("magicDnsName");
    expect(found.peers).toHaveLength(998);
  });
});

it("is absent where the program is in none of its places", async () => {
  const found = await askTailscale({ env: { PATH: "/nonexistent" }, programs: ["tailscale", "/nonexistent/Tailscale"] });
  expect(found).toEqual({ kind: "absent" });
  expect(tailscaleState(found)).toBe("is not installed");
});

it("is looked for where the installers put it", () => {
  expect(tailscalePrograms("linux", {})).toEqual(["tailscale"]);
  expect(tailscalePrograms("darwin", {})).toContain("/Applications/Tailscale.app/Contents/MacOS/Tailscale");
  expect(tailscalePrograms("win32", {})).toContain("C:\\Program Files\\Tailscale\\tailscale.exe");
});

it("says what to do", () => {
  expect(tailscaleAdvice({ kind: "absent" })).toContain("Install");
  expect(tailscaleAdvice({ kind: "stopped", reason: "" })).toContain("tailscale up");
  expect(tailscaleAdvice({ kind: "needs_login", reason: "" })).toContain("log in");
});
