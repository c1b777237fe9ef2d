/**
 * Stands in for Tailscale's command line: a program of that name on a PATH of its own, which answers `status --json` and
 * `whois --json` with what a test has recorded. The answers have the fields, the order and the odds and ends (a dot after names, null where
 * there is nothing, times of the year 1) of ipnstate.Status and apitype.WhoIsResponse, which the real program prints.
 */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

export interface TailscaleStub {
  readonly env: Readonly<Record<string, string>>;
  says(answer: unknown): void;
  /** Without its daemon. */
  fails(stderr: string): void;
  hangs(): void;
  /** What `whois` says of this address; of others that there is no such peer. */
  knows(ip: string, answer: unknown): void;
  /** The arguments of each call. */
  calls(): string[];
  remove(): void;
}

/** Of `whois --json <ip>:<port>`; other words go on. */
const WHOIS = (folder: string): string => `if [ "$1" = whois ]; then
  known="${folder}/whois-\${3%:*}"
  if [ -f "$known" ]; then exec cat "$known"; fi
  echo "peer not found" >&2
  exit 1
fi`;
const NEVER = "0001-01-01T00:00:00Z";

export const SELF = { ip4: "100.101.102.103", ip6: "fd7a:115c:a1e0::6501:6667", name: "studio.tail1a2b3.ts.net" } as const;

function machine(of: { n: number; host: string; os: string; ips: readonly string[] | null; online: boolean }): object {
  const { n, host, os, ips, online } = of;
  return {
    ID: `n${n}Kg92CNTRL`,
    PublicKey: `nodekey:${String(n).padStart(2, "0").repeat(32)}`,
    HostName: host,
    DNSName: ips === null ? "" : `${host.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}.tail1a2b3.ts.net.`,
    OS: os,
    UserID: 4_810_112_233_445_566,
    TailscaleIPs: ips,
    AllowedIPs: ips?.map((ip) => `${ip}/${ip.includes(":") ? 128 : 32}`) ?? null,
    Addrs: ips === null ? null : ["192.168.1.20:41641", "203.0.113.7:41641"],
    CurAddr: "",
    Relay: "fra",
    PeerRelay: "",
    RxBytes: 0,
    TxBytes: 0,
    Created: "2026-05-02T09:14:31.118204337Z",
    LastWrite: NEVER,
    LastSeen: online ? NEVER : "2026-11-20T21:03:00.1Z",
    LastHandshake: NEVER,
    Online: online,
    ExitNode: false,
    ExitNodeOption: false,
    Active: false,
    PeerAPIURL: ips === null ? null : [`http://${ips[0]}:58123`],
    TaildropTarget: 0,
    NoFileSharingReason: "",
    InNetworkMap: true,
    InMagicSock: false,
    InEngine: false,
    KeyExpiry: "2027-05-01T09:14:31Z",
  };
}

/** Up, with three other machines, one of them off and one shared by somebody else. */
export const RUNNING = {
  Version: "1.98.3-t0f1e2d3c4-g5b6a7988",
  TUN: true,
  BackendState: "Running",
  HaveNodeKey: true,
  AuthURL: "",
  TailscaleIPs: [SELF.ip4, SELF.ip6],
  Self: machine({ n: 1, host: "studio", os: "linux", ips: [SELF.ip4, SELF.ip6], online: true }),
  Health: [],
  MagicDNSSuffix: "tail1a2b3.ts.net",
  CurrentTailnet: { Name: "ann@example.com", MagicDNSSuffix: "tail1a2b3.ts.net", MagicDNSEnabled: true },
  CertDomains: ["studio.tail1a2b3.ts.net"],
  Peer: {
    "nodekey:02": machine({ n: 2, host: "nas2", os: "linux", ips: ["100.70.0.2", "fd7a:115c:a1e0::4600:2"], online: true }),
    "nodekey:03": machine({ n: 3, host: "Ann's MacBook Air", os: "macOS", ips: ["100.70.0.3"], online: false }),
    "nodekey:04": machine({ n: 4, host: "pixel-9", os: "android", ips: ["100.70.0.4"], online: true }),
  },
  User: { "4810112233445566": { ID: 4_810_112_233_445_566, LoginName: "ann@example.com", DisplayName: "Ann", ProfilePicURL: "" } },
  ClientVersion: { RunningLatest: true },
};

const down = (state: string, more: object = {}): object => ({
  Version: RUNNING.Version,
  TUN: true,
  BackendState: state,
  HaveNodeKey: state !== "NeedsLogin",
  AuthURL: "",
  TailscaleIPs: null,
  Self: machine({ n: 1, host: "studio", os: "linux", ips: null, online: false }),
  Health: state === "Stopped" ? ["Tailscale is stopped."] : ["You are logged out. The last login error was: ..."],
  MagicDNSSuffix: "",
  CurrentTailnet: null,
  CertDomains: null,
  Peer: null,
  User: null,
  ClientVersion: null,
  ...more,
});

export const STOPPED = down("Stopped");
export const STARTING = down("Starting");
export const NEEDS_LOGIN = down("NeedsLogin", { AuthURL: "https://login.tailscale.com/a/0123456789ab" });
/** What the program says on stderr, ending with 1, where its daemon does not run. */
export const NO_DAEMON = "failed to connect to local tailscaled; it doesn't appear to be running (sudo systemctl start tailscaled ?)";

/** Of a machine with an IPv4 address in the tailnet. */
export function whoisAnswer({ ip, login, name, tags }: { ip: string; login?: string; name: string; tags?: readonly string[] }): object {
  const user = login === undefined ? 9_007_199_254_740_000 : 4_810_112_233_445_566;
  return {
    Node: {
      ID: 7_351_220_194_001_337,
      StableID: "nQ2k8Kg92CNTRL",
      Name: `${name}.tail1a2b3.ts.net.`,
      User: user,
      Key: `nodekey:${"0a".repeat(32)}`,
      KeyExpiry: "2027-05-01T09:14:31Z",
      Machine: `mkey:${"0b".repeat(32)}`,
      DiscoKey: `discokey:${"0c".repeat(32)}`,
      Addresses: [`${ip}/32`, "fd7a:115c:a1e0::4600:2/128"],
      AllowedIPs: [`${ip}/32`, "fd7a:115c:a1e0::4600:2/128"],
      Endpoints: ["192.168.1.20:41641"],
      HomeDERP: 4,
      Hostinfo: { OS: "linux", Hostname: name, Services: [{ Proto: "peerapi4", Port: 58_123 }] },
      Created: "2026-05-02T09:14:31.118204337Z",
      ...(tags !== undefined && { Tags: tags }),
      Cap: 113,
      Online: true,
      MachineAuthorized: true,
      ComputedName: name,
      ComputedNameWithHost: name,
    },
    UserProfile: { ID: user, LoginName: login ?? "tagged-devices", DisplayName: login ?? "Tagged Devices" },
    CapMap: { "https://tailscale.com/cap/is-admin": null },
  };
}

export function tailscaleStub(): TailscaleStub {
  const folder = mkdtempSync(path.join(tmpdir(), "ocx-tailscale-"));
  const [answer, calls] = ["answer", "calls"].map((name) => path.join(folder, name)) as [string, string];
  writeFileSync(calls, "");
  const program = (script: string): void => {
    const file = path.join(folder, "tailscale");
    writeFileSync(file, `#!/bin/sh\necho "$@" >>${calls}\n${WHOIS(folder)}\n${script}\n`);
    chmodSync(file, 0o755);
  };
  const stub: TailscaleStub = {
    env: { PATH: `${folder}:${process.env["PATH"]}` },
    says(given) {
      writeFileSync(answer, typeof given === "string" ? given : JSON.stringify(given, null, 2));
      program(`cat ${answer}`);
    },
    fails(stderr) {
      writeFileSync(answer, stderr);
      program(`cat ${answer} >&2; exit 1`);
    },
    hangs: () => program("exec sleep 60"),
    knows: (ip, given) =>
      writeFileSync(path.join(folder, `whois-${ip}`), typeof given === "string" ? given : JSON.stringify(given, null, 2)),
    calls: () => readFileSync(calls, "utf8").split("\n").filter(Boolean),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
  stub.says(RUNNING);
  return stub;
}
