/**
 * Whose machine is at the other end of a connection, by Tailscale's word: the program's `whois --json`, else tailscaled's own
 * socket, which it would ask too. A hint and a further condition, never a credential: everybody with whom a tailnet is
 * shared has an identity in it.
 *
 * W1. Asked by address and port of a connection that stands, never by what somebody says of themselves in a header.
 * W2. An answer counts only if it is about that address. None, or one that cannot be read, is told as not known.
 */
import { request } from "node:http";
import { z } from "zod";
import { bracketed, reachOf } from "./address.ts";
import type { Environment } from "./folders.ts";
import { runShort } from "./short-program.ts";
import { tailscalePrograms } from "./tailscale.ts";
import { jsonOf } from "./json-of.ts";

export interface TailnetIdentity {
  /** `ann@example.com`; a machine with tags is nobody's. */
  readonly login?: string;
  /** Its name in the tailnet: `nas2.tail1234.ts.net`. */
  readonly machine?: string;
  /** `tag:server` */
  readonly tags: readonly string[];
}

export type Whois = { readonly kind: "known"; readonly who: TailnetIdentity } | { readonly kind: "unknown"; readonly reason: string };

export interface WhoisQuestion {
  readonly env: Environment;
  readonly address: string;
  readonly port: number;
  readonly programs?: readonly string[];
  readonly sockets?: readonly string[];
  readonly timeoutMs?: number;
}

/** Somebody waits for the answer to a join. */
const ANSWER_MS = 3_000;
const ANSWER_BYTES_MAX = 1024 * 1024;
const TAGS_MAX = 16;
/** Linux, then tailscaled on macOS; the app there and Windows have no socket of this kind, but their program. */
const SOCKETS = ["/var/run/tailscale/tailscaled.sock", "/var/run/tailscaled.socket"];
/** The only name to which tailscaled answers on its socket. */
const SOCKET_HOST = "local-tailscaled.sock";

const TAGGED = "tagged-devices";

/** Printable, and no longer than a name of a host. */
const Text = z
  .string()
  .nullish()
  .transform((text) => (text ?? "").replaceAll(/[^\u0020-\u007e\u00a1-\uffff]/g, "").slice(0, 253));
const Answer = z.object({
  Node: z.object({
    Name: Text,
    Addresses: z.array(z.string()).nullish(),
    Tags: z
      .array(z.string().regex(/^tag:[A-Za-z0-9-]{1,64}$/))
      .nullish()
      .transform((tags) => (tags ?? []).slice(0, TAGS_MAX)),
  }),
  UserProfile: z.object({ LoginName: Text }),
});

/** Never rejects. */
export async function askWhois(question: WhoisQuestion): Promise<Whois> {
  const address = question.address.replace(/^::ffff:(?=[\d.]+$)/, "");
  if (reachOf(address) !== "tailnet") return unknown(`${address} is no address of a tailnet`);
  const { env, programs = tailscalePrograms(process.platform, env), sockets = SOCKETS, timeoutMs = ANSWER_MS } = question;
  const place = `${bracketed(address)}:${question.port}`;
  const asks = [...programs.map((program) => askProgram(program, place, env)), ...sockets.map((socket) => askSocket(socket, place))];
  let last = "Tailscale is not here";
  for (const ask of asks) {
    const said = await ask(timeoutMs);
    if (typeof said !== "string") {
      if (said !== undefined) last = said.reason;
      continue;
    }
    const who = read(said, address);
    if (who !== undefined) return { kind: "known", who };
    last = "its answer is not one that this program can read";
  }
  return unknown(last);
}

const unknown = (reason: string): Whois => ({ kind: "unknown", reason });

/** The answer; why there is none; or undefined where there is nobody to ask. */
type Ask = (timeoutMs: number) => Promise<string | { readonly reason: string } | undefined>;

function askProgram(program: string, place: string, env: Environment): Ask {
  return async (timeoutMs) => {
    const run = await runShort([program, "whois", "--json", place], { env, timeoutMs, bytesMax: ANSWER_BYTES_MAX });
    if (run.kind === "absent") return undefined;
    if (run.kind === "failed") return run;
    return run.code === 0 ? run.stdout : { reason: `tailscale knows nobody at ${place}` };
  };
}

function askSocket(socketPath: string, place: string): Ask {
  return (timeoutMs) =>
    new Promise((resolve) => {
      const signal = AbortSignal.timeout(timeoutMs);
      const path = `/localapi/v0/whois?addr=${encodeURIComponent(place)}`;
      const asked = request({ socketPath, path, headers: { host: SOCKET_HOST }, agent: false, signal }, (answer) => {
        let text = "";
        answer.setEncoding("utf8");
        answer.on("data", (piece: string) => {
          text += piece;
          if (text.length > ANSWER_BYTES_MAX) answer.destroy();
        });
        answer.on("close", () => resolve({ reason: "tailscaled's answer was cut off" }));
        answer.on("error", () => undefined);
        answer.on("end", () => resolve(answer.statusCode === 200 ? text : { reason: `tailscaled knows nobody at ${place}` }));
      });
      asked.on("error", (error: NodeJS.ErrnoException) =>
        resolve(
          error.code === "ENOENT" || error.code === "ECONNREFUSED"
            ? undefined
            : { reason: `tailscaled does not answer (${error.code ?? error.name})` },
        ),
      );
      asked.end();
    });
}

function read(text: string, address: string): TailnetIdentity | undefined {
  const parsed = Answer.safeParse(jsonOf(text));
  if (!parsed.success) return undefined;
  const { Node: node, UserProfile: user } = parsed.data;
  // W2: each stands there as a network of one machine.
  if (!(node.Addresses ?? []).some((one) => one.replace(/\/(32|128)$/, "") === address)) return undefined;
  const machine = node.Name.toLowerCase().replace(/\.$/, "");
  // Tagged machines have all the same user, which is none.
  const login = node.Tags.length > 0 || user.LoginName === TAGGED || user.LoginName === "" ? undefined : user.LoginName;
  return { ...(login !== undefined && { login }), ...(machine !== "" && { machine }), tags: node.Tags };
}

/** For people: `ann@example.com (nas2.tail1234.ts.net)`. */
export function identityText({
  login,
  machine,
  tags,
}: {
  login?: string | undefined;
  machine?: string | undefined;
  tags?: readonly string[];
}): string {
  const whose = login ?? (tags === undefined || tags.length === 0 ? "nobody's" : tags.join(" "));
  return machine === undefined ? whose : `${whose} (${machine})`;
}

/** Is it one of those that are named: a login, or `tag:…`? */
export function isNamed({ login, tags }: TailnetIdentity, names: readonly string[]): boolean {
  return names.some((name) => {
    const wanted = name.toLowerCase();
    return wanted.startsWith("tag:") ? tags.some((tag) => tag.toLowerCase() === wanted) : login?.toLowerCase() === wanted;
  });
}
