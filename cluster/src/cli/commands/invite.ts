/** `invite`: prints the one line that makes another machine a node of this cluster. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { INVITE, type Invite } from "@openclaw-cluster/contract/join";
import type { Command } from "commander";
import { LAN, TAILSCALE } from "../../system/config-schema.ts";
import { askTailscale, tailnetAddress, tailscaleState } from "../../system/tailscale.ts";
import { readJoinCode } from "../../trust/join-code.ts";
import { examples, type Act } from "../command.ts";
import { isLoopback } from "../connection.ts";
import { readNodeId } from "../ids.ts";
import type { Session } from "../session.ts";
import { remark } from "../terminal.ts";

interface Options {
  readonly approve?: boolean;
  readonly nodeId?: string;
  readonly minutes: string;
}

const MINUTE_MS = 60_000;

export function configure(command: Command, act: Act): void {
  command
    .option("--approve", "let the machine in at once; without it you approve it when it has come")
    .option("--node-id <id>", "only a machine of this id may use the code")
    .option("--minutes <n>", "how long the code is good", String(INVITE.ttlDefaultMs / MINUTE_MS));
  examples(command, "invite", "invite --approve --node-id nas2")
    .addHelpText(
      "after",
      "\nThe code is good for one machine. It holds a secret: send it to yourself as you would a password. The machine proves that it knows\n" +
        "the code without sending it, and learns from it which coordinator is the right one.",
    )
    .action(act(invite));
}

async function invite(session: Session, { approve = false, nodeId, minutes }: Options): Promise<void> {
  const client = await session.client();
  const node = nodeId === undefined ? {} : { node: readNodeId(nodeId) };
  const made = await client.invite({ approve, ttlMs: readMinutes(minutes), ...node });
  const { urls } = readJoinCode(made.code);
  if (urls.every(isLoopback)) remark(session.terminal, await onlyHere(session));
  session.show(made, () => text(session, made));
}

/** The code's addresses lead nowhere on another machine: what to do about it depends on this machine's networks. */
async function onlyHere(session: Session): Promise<string> {
  const found = await askTailscale({ env: session.terminal.env });
  const note = "note: this coordinator listens on this machine's loopback only. To let others in:\n";
  const lan = `        ${session.typed(`config set api.host ${LAN}`)}      for machines of the same network, with TLS\n`;
  const then = "      then start it anew, and make a new code";
  if (found.kind !== "running") return `${note}${lan}${then}. Tailscale is another way; it ${tailscaleState(found)}`;
  const tailnet = `        ${session.typed(`config set api.host ${TAILSCALE}`)}      for those of your tailnet (today that is ${tailnetAddress(found)})\n`;
  return note + lan + tailnet + then;
}

function text(session: Session, { code, approve, expiresAt, node }: Invite): string {
  const minutes = Math.max(1, Math.round((expiresAt - Date.now()) / MINUTE_MS));
  const after = approve ? "It is let in at once." : `Then let it in here: ${session.typed(`nodes approve ${node ?? "<node>"}`)}`;
  return `On the other machine, within ${minutes} minutes:\n\n  openclaw-cluster join ${code}\n\n${after}\n`;
}

function readMinutes(given: string): number {
  const ms = Number(given) * MINUTE_MS;
  if (Number.isFinite(ms) && ms >= 10_000 && ms <= INVITE.ttlMaxMs) return Math.round(ms);
  throw new ClusterError("usage", `--minutes takes a number from 0.2 to ${INVITE.ttlMaxMs / MINUTE_MS}, not ${given}`);
}
