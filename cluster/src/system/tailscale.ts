/**
 * What this machine's Tailscale says of itself, by `tailscale status --json`. The format may change from release to release
 * (its own help says so): only what is used is read, and an answer that cannot be read is no worse than none.
 *
 * T1. Nothing that comes from there is trusted because of where it comes from: addresses must lie in the tailnet's ranges,
 *     names must be names, every size has a limit.
 * T2. The link for a login is not passed on: whoever opens it chooses the tailnet.
 */
import { z } from "zod";
import { isSameAddress, reachOf } from "./address.ts";
import type { Environment } from "./folders.ts";
import { runShort } from "./short-program.ts";
import { jsonOf } from "./json-of.ts";

export interface TailnetPeer {
  readonly name: string;
  readonly ips: readonly string[];
  readonly os: string;
  readonly online: boolean;
}

export interface RunningTailscale {
  readonly kind: "running";
  readonly ip4?: string;
  readonly ip6?: string;
  /** Where MagicDNS is on: `studio.tail1234.ts.net`. */
  readonly magicDnsName?: string;
  /** What the tailnet is called: `ann@example.com`. */
  readonly tailnet?: string;
  /** The first PEERS_MAX of them. */
  readonly peers: readonly TailnetPeer[];
}

export type Tailscale =
  | RunningTailscale
  | { readonly kind: "absent" }
  /** Installed, and may come up by itself or by `tailscale up`. */
  | { readonly kind: "stopped"; readonly reason: string }
  | { readonly kind: "needs_login"; readonly reason: string }
  /** No answer that can be read. */
  | { readonly kind: "unclear"; readonly reason: string };

export interface TailscaleQuestion {
  readonly env: Environment;
  /** Where to look for the program, in this order. */
  readonly programs?: readonly string[];
  readonly timeoutMs?: number;
}

const ANSWER_MS = 5_000;
/** A tailnet of ten thousand machines. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
const PEERS_MAX = 1_000;
const IPS_MAX = 16;
const REASON_CHARS_MAX = 200;

const Text = z
  .string()
  .nullish()
  .transform((text) => (text ?? "").replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, "").slice(0, 253));
const Ips = z
  .array(z.string())
  .nullish()
  .transform((ips) => (ips ?? []).filter((ip) => reachOf(ip) === "tailnet").slice(0, IPS_MAX));
const Machine = z.object({ HostName: Text, DNSName: Text, OS: Text, TailscaleIPs: Ips, Online: z.boolean().nullish() });
const Status = z.object({
  BackendState: z.string(),
  TailscaleIPs: Ips,
  Self: Machine.nullish(),
  CurrentTailnet: z.object({ Name: Text, MagicDNSEnabled: z.boolean().nullish() }).nullish(),
  Peer: z.record(z.string(), z.unknown()).nullish(),
});
type Status = z.infer<typeof Status>;

const DNS_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$/;

/** On PATH, else where the installer puts it: the app of macOS holds its own, and Windows' PATH may be older than the installation. */
export function tailscalePrograms(platform: NodeJS.Platform, env: Environment): readonly string[] {
  if (platform === "darwin") return ["tailscale", "/Applications/Tailscale.app/Contents/MacOS/Tailscale"];
  if (platform === "win32") return ["tailscale", `${env["ProgramFiles"] || "C:\\Program Files"}\\Tailscale\\tailscale.exe`];
  return ["tailscale"];
}

/** Never rejects; takes ANSWER_MS at the most for each place that the program may lie in. */
export async function askTailscale(question: TailscaleQuestion): Promise<Tailscale> {
  const { env, programs = tailscalePrograms(process.platform, env), timeoutMs = ANSWER_MS } = question;
  for (const program of programs) {
    const run = await runShort([program, "status", "--json"], { env, timeoutMs, bytesMax: ANSWER_BYTES_MAX });
    if (run.kind === "absent") continue;
    if (run.kind === "failed") return { kind: "unclear", reason: run.reason };
    const status = Status.safeParse(jsonOf(run.stdout));
    if (status.success) return judged(status.data);
    // Without its daemon the program ends with 1 and says so on stderr; an answer nobody can read is another matter.
    const said = firstLine(run.stderr);
    if (run.code !== 0) return { kind: "stopped", reason: said || `tailscale ended with exit code ${run.code}` };
    return { kind: "unclear", reason: "its answer is not one that this program can read" };
  }
  return { kind: "absent" };
}

/** Where a server listens, and what others write to reach it. */
export function tailnetAddress({ ip4, ip6 }: RunningTailscale): string | undefined {
  return ip4 ?? ip6;
}

/** Tailscale runs here, and this address is the machine's own in the tailnet. */
export function isOwnAddress(found: Tailscale, host: string): boolean {
  return found.kind === "running" && [found.ip4, found.ip6].some((own) => own !== undefined && isSameAddress(own, host));
}

/** What a person can do where it does not run. */
export function tailscaleAdvice({ kind }: Exclude<Tailscale, RunningTailscale>): string {
  if (kind === "absent") return "Install Tailscale (https://tailscale.com/download), then run `tailscale up`.";
  if (kind === "needs_login") return "Run `tailscale up` and log in.";
  return "Start Tailscale: `tailscale up` (its service first, where that is stopped: `sudo systemctl start tailscaled`).";
}

/** In words, after "Tailscale". */
export function tailscaleState(found: Tailscale): string {
  if (found.kind === "running") return "runs";
  return found.kind === "absent" ? "is not installed" : `does not run here: ${found.reason}`;
}

function judged(status: Status): Tailscale {
  switch (status.BackendState) {
    case "Running":
      return running(status);
    case "NeedsLogin":
      return { kind: "needs_login", reason: "it is logged out" };
    case "NeedsMachineAuth":
      return { kind: "needs_login", reason: "an administrator of the tailnet has to approve this machine" };
    case "Starting":
    case "NoState":
      return { kind: "stopped", reason: "it is starting" };
    case "Stopped":
      return { kind: "stopped", reason: "it is stopped" };
    case "InUseOtherUser":
      return { kind: "stopped", reason: "another user of this machine uses it" };
    default:
      return { kind: "unclear", reason: "it is in a state that this program does not know" };
  }
}

function running({ Self: self, TailscaleIPs: ips, CurrentTailnet: tailnet, Peer: peers }: Status): Tailscale {
  const own = [...(self?.TailscaleIPs ?? []), ...ips];
  const [ip4, ip6] = [own.find((ip) => !ip.includes(":")), own.find((ip) => ip.includes(":"))];
  if (ip4 === undefined && ip6 === undefined) return { kind: "stopped", reason: "it has no address yet" };
  // Releases before 1.24 have no CurrentTailnet; there a name is a name.
  const name = tailnet?.MagicDNSEnabled === false ? undefined : dnsName(self?.DNSName);
  return {
    kind: "running",
    ...(ip4 !== undefined && { ip4 }),
    ...(ip6 !== undefined && { ip6 }),
    ...(name !== undefined && { magicDnsName: name }),
    ...(tailnet?.Name && { tailnet: tailnet.Name }),
    peers: Object.values(peers ?? {})
      .slice(0, PEERS_MAX)
      .flatMap(peerOf),
  };
}

/** One that cannot be read is left out: it takes nothing away from the others. */
function peerOf(value: unknown): TailnetPeer[] {
  const peer = Machine.safeParse(value);
  if (!peer.success) return [];
  const { HostName: host, DNSName: dns, OS: os, TailscaleIPs: ips, Online: online } = peer.data;
  return [{ name: dnsName(dns) ?? host, ips, os, online: online === true }];
}

function dnsName(text: string | undefined): string | undefined {
  const name = (text ?? "").toLowerCase().replace(/\.$/, "");
  return DNS_NAME.test(name) ? name : undefined;
}

const firstLine = (text: string): string => (text.trim().split(/[\r\n]/, 1)[0] ?? "").slice(0, REASON_CHARS_MAX);
