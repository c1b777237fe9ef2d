/** `nodes`: the machines; list them, look at one, label it, take it out of work and back in, end its daemon, take it out for good. */
import { stateText, type Node } from "@openclaw-cluster/contract/node";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { waitUntilDrained } from "../drain.ts";
import { readLabel, readNodeId } from "../ids.ts";
import { nodeFacts, nodeTable, waitingLines } from "../node-view.ts";
import type { Session } from "../session.ts";
import { labelText } from "../task-view.ts";

const NODE = ["<node>", "the node's id, as `nodes` lists it"] as const;

export function configure(command: Command, act: Act): void {
  examples(command, "nodes", "nodes show studio", "nodes label studio gpu=yes old-", "nodes drain studio");
  examples(
    command
      .command("list", { isDefault: true })
      .summary("list the nodes (also without a word)")
      .option("--all", "also those that nobody has heard of for a week"),
    "nodes list --all --json",
  ).action(act(list));
  examples(
    command
      .command("show")
      .summary("show one node")
      .argument(...NODE),
    "nodes show studio",
  ).action(act(show));
  examples(
    command
      .command("label")
      .summary("set labels, or remove one")
      .argument(...NODE)
      .argument("<labels...>", "name=value sets it, name- removes it"),
    "nodes label studio gpu=yes room=office",
    "nodes label studio gpu-",
  ).action(act(label));
  examples(
    command
      .command("drain")
      .summary("give it no new work")
      .argument(...NODE)
      .option("--wait", "until what runs there has ended, and its machine may be switched off"),
    "nodes drain studio",
    "nodes drain studio --wait",
  ).action(act(drain));
  for (const { name, summary, ask, tell } of CHANGES) {
    examples(
      command
        .command(name)
        .summary(summary)
        .argument(...NODE),
      `nodes ${name} studio`,
    ).action(
      act(async (session, _options: object, text: string) => {
        const id = readNodeId(text);
        const node = await ask(await session.client(), id);
        session.show(node, () => `${tell(node)}\n`);
      }),
    );
  }
}

interface Change {
  readonly name: string;
  readonly summary: string;
  ask(client: Client, id: NodeId): Promise<Node>;
  tell(node: Node): string;
}

/** What is done to one node by one word. */
const CHANGES: readonly Change[] = [
  {
    name: "approve",
    summary: "let a machine in that has joined and waits for it",
    ask: (client, id) => client.approveNode({ id }),
    tell: (node) =>
      `${told(node)}; its key is ${node.fingerprint}, as \`join\` must have shown it there: if not, openclaw-cluster nodes revoke ${node.id}`,
  },
  {
    name: "revoke",
    summary: "shut it out: its key is not taken any more, and its tasks go to others",
    ask: (client, id) => client.revokeNode({ id }),
    tell: ({ id }) => `${id} is shut out; to let that machine in again: nodes remove ${id}, then a new invite`,
  },
  { name: "resume", summary: "give it new work again", ask: (client, id) => client.resume({ id }), tell: told },
  {
    name: "shutdown",
    summary: "ask its daemon to end in good order",
    ask: (client, id) => client.shutdownNode({ id }),
    tell: ({ id }) => `${id} was asked to end in good order`,
  },
  {
    name: "remove",
    summary: "take it out of the cluster, when it is gone for good",
    ask: (client, id) => client.removeNode({ id }),
    tell: ({ id }) => `${id} is out of the cluster; its daemon, should it come back, is told so`,
  },
];

async function list(session: Session, { all }: { all?: true }): Promise<void> {
  const client = await session.client();
  const { nodes } = await client.nodes(all === true ? { all } : {});
  const text = (): string => nodeTable(session.terminal, nodes, Date.now()) + waitingLines(nodes, session.typed);
  session.show({ nodes }, () => (nodes.length === 0 ? "no nodes\n" : text()));
}

async function show(session: Session, _options: object, text: string): Promise<void> {
  const id = readNodeId(text);
  const client = await session.client();
  const node = await client.node({ id });
  session.show(node, () => nodeFacts(session.terminal, node));
}

async function label(session: Session, _options: object, text: string, changes: string[]): Promise<void> {
  const id = readNodeId(text);
  const labels = Object.fromEntries(changes.map(readChange));
  const client = await session.client();
  const node = await client.patchNode({ id, labels });
  session.show(node, () => `${node.id} ${labelText(node.labels) || "has no labels"}\n`);
}

async function drain(session: Session, { wait }: { readonly wait?: true }, text: string): Promise<number> {
  const id = readNodeId(text);
  const client = await session.client();
  const node = await client.drain({ id });
  if (wait === true) return waitUntilDrained(session, id);
  session.show(node, () => `${told(node)}\n`);
  return 0;
}

function readChange(text: string): [name: string, value: string | null] {
  if (text.includes("=")) return readLabel(text);
  if (text.length < 2 || !text.endsWith("-"))
    throw new ClusterError("usage", `not a change of a label: ${text}; write name=value, or name- to remove it`);
  return [text.slice(0, -1), null];
}

function told(node: Node): string {
  return `${node.id} ${stateText(node)}`;
}
