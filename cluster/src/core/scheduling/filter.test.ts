import type { NodeFacts } from "@openclaw-cluster/contract/node";
import type { Refusal } from "@openclaw-cluster/contract/placement";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { describe, expect, it } from "vitest";
import type { SchedulableNode } from "../node.ts";
import { refusal, type Verdict } from "./filter.ts";
import { agent, command, echo, facts, id, lends, model, node, task } from "./fixtures.ts";
import { Shapes } from "./shape.ts";

const ask = (one: SchedulableNode, spec: TaskSpec): Verdict | undefined =>
  refusal(one, new Shapes("balanced").describe(task(1, { spec, owner: "ann" })));
const nas = (more: Partial<NodeFacts> = {}): SchedulableNode => node("nas2", { facts: more });
const policy = (more: Partial<NodeFacts["policy"]>): SchedulableNode =>
  nas({ policy: { kinds: ["echo", "command", "agent", "tool"], ...more } });
const tool = (name: string, more: { session?: string } = {}): TaskSpec => ({ kind: "tool", input: { tool: name, ...more } });
const quiet = (more: Partial<NonNullable<NodeFacts["policy"]["hours"]>>): SchedulableNode =>
  policy({ hours: { text: "22:00-07:00 (UTC)", pinned: false, quiet: { until: 1, text: "07:00 (UTC)" }, ...more } });
const full = (diskFull: "floor" | "write"): SchedulableNode =>
  node("nas2", { load: { cpu: 0, memoryFreeMiB: 1, diskFreeMiB: 12, running: 0, held: 0, diskFull } });
const skill = { name: "video", eligible: false, missing: ["bins: ffmpeg", "env: KEY"] };
const openclaw = { version: "2026.9.6", reachable: true, agents: ["main"], models: [{ id: "llama3/8b", provider: "local" }] };

const NIGHT = { text: "22:00-07:00 (UTC)", pinned: true, quiet: { until: 1, text: "07:00 (UTC)" } };

describe("the filter lets through", () => {
  it.each<[string, SchedulableNode, TaskSpec]>([
    ["a plain task on a ready node", nas(), echo()],
    ["a named node", nas(), echo({ require: { nodes: [id("studio"), id("nas2")] } })],
    ["one of the systems", nas(), echo({ require: { os: ["darwin", "linux"], arch: ["x64"] } })],
    ["a label laid over by the operator", node("nas2", { labels: { gpu: "yes" } }), echo({ require: { labels: { gpu: "yes" } } })],
    [
      "an eligible skill, from the input too",
      nas({ skills: [{ name: "notes", eligible: true }] }),
      agent({ skill: "notes" }, { require: { skills: ["notes"] } }),
    ],
    ["a model by provider and id", nas({ openclaw }), agent({ model: "local/llama3/8b" })],
    ["a model by its id alone", nas({ openclaw }), agent({}, { require: { models: ["llama3/8b"] } })],
    ["an agent that it has", nas(), agent({ agent: "main" })],
    ["a command that the policy names", policy({ commands: ["git"] }), command({}, "git")],
    [
      "a command that the policy names by its path: only the node knows its PATH",
      policy({ commands: ["/usr/bin/git"] }),
      command({}, "git"),
    ],
    ["a tool without an agent under a policy about agents", policy({ agents: [] }), tool("search")],
    ["a tool that the policy's patterns mean", policy({ tools: { allow: ["web_*"], deny: ["web_post"] } }), tool("web_fetch")],
    ["any tool, where the node does not say which", policy({}), tool("web_fetch")],
    ["a session of a user's own, whatever the policy opens", policy({ sessions: [] }), agent({ session: "daily" })],
    ["one of the machine's own that the policy opens", policy({ sessions: ["main"] }), agent({ session: "Main" })],
    ["a user that the policy names", policy({ users: { allow: ["ann"], deny: [] } }), echo()],
    ["what only it may run, in hours that leave that out", quiet({ pinned: true }), echo({ require: { nodes: [id("nas2")] } })],
    ["anything, in hours that are not quiet now", policy({ hours: { text: "22:00-07:00 (UTC)", pinned: false } }), echo()],
    ["a program that its policy runs without a sandbox too", boxed(["make"]), command({}, "git")],
    ["a program that needs one, where there is one", boxed(["**"], true), command({}, "git")],
    ["as much as one command may take; of another kind more", boxed([]), command({ require: { memoryMiB: 512 } }, "git")],
    ["any model that chats", nas({ lends: [lends("m")] }), model()],
    ["a model by a name as people write it", nas({ lends: [lends("Qwen3:latest")] }), model({ model: "qwen3" })],
    ["a model of this node by its name", nas({ lends: [lends("m")] }), model({ model: "m@nas2" })],
    ["texts to embed", nas({ lends: [lends("e", { can: { chat: false, embeddings: true } })] }), model({ embed: "a" })],
    ["as much as the context holds", nas({ lends: [lends("m", { contextTokens: 4_096 })] }), model({ prompt: "a".repeat(12_000) })],
    ["one of two models of a name", nas({ lends: [lends("m", { can: { json: false } }), lends("m")] }), model({ model: "m", schema: {} })],
    ["all of its slots and nine tenths of its memory", nas(), echo({ require: { slots: 4, memoryMiB: 9_000 } })],
  ])("%s", (_name, one, spec) => {
    expect(ask(one, spec)).toBeUndefined();
  });
});

describe("the filter refuses", () => {
  it.each<[Refusal, string | RegExp, string | RegExp, SchedulableNode, TaskSpec]>([
    ["not_named", /\(studio\)/, "add nas2 to require.nodes", nas(), echo({ require: { nodes: [id("studio")] } })],
    ["not_approved", "is not approved yet", /let nas2 in/, node("nas2", { state: "pending" }), echo()],
    ["not_approved", "was revoked", /openclaw-cluster join/, node("nas2", { state: "revoked" }), echo()],
    ["not_ready", /silent/, /wait/, node("nas2", { state: "suspect" }), echo()],
    ["not_ready", /lost/, /network/, node("nas2", { state: "lost" }), echo()],
    ["not_ready", "is offline", /openclaw-cluster start, on nas2/, node("nas2", { state: "offline" }), echo()],
    ["not_ready", /not said yet/, /log/, { ...nas(), facts: undefined }, echo()],
    ["draining", "is draining", "resume it: openclaw-cluster nodes resume nas2", node("nas2", { draining: true }), echo()],
    ["disk_full", "takes no new work (disk full: 12 MiB free)", "free disk space on nas2; it goes on by itself", full("floor"), echo()],
    ["disk_full", /a write found no room, with 12 MiB free/, /goes on by itself/, full("write"), echo()],
    [
      "protocol",
      /^speaks version 9 .*, and the coordinator version/,
      "update openclaw-cluster on the control nodes",
      nas({ protocol: { oldest: 9, newest: 9 } }),
      echo(),
    ],
    ["kind", /kind echo/, /update/, nas({ kinds: ["agent"] }), echo()],
    ["kind", "has no OpenClaw", /install OpenClaw on nas2/, { ...nas(), facts: withoutOpenClaw() }, agent()],
    ["kind", /Gateway/, "start the Gateway on nas2: openclaw gateway run", nas({ openclaw: { ...openclaw, reachable: false } }), agent()],
    ["kind", "has no OpenClaw agent coder", "add the agent coder to OpenClaw on nas2", nas(), agent({ agent: "coder" })],
    ["policy", "does not allow tasks of kind command", "allow it in policy.yaml on nas2", policy({ kinds: ["echo"] }), command()],
    ["policy", "does not allow the agent main", /policy.yaml/, policy({ agents: ["coder"] }), agent({ agent: "main" })],
    ["policy", "does not allow the agent default", /policy.yaml/, policy({ agents: ["main"] }), agent()],
    ["policy", "does not allow the command rm", /policy.yaml/, policy({ commands: ["git"] }), command({}, "rm")],
    ["policy", "does not allow the command it", /policy.yaml/, policy({ commands: ["git", "/usr/bin/git"] }), command({}, "it")],
    [
      "policy",
      "does not allow the tool x",
      "allow it in policy.yaml on nas2",
      policy({ tools: { allow: ["web_*"], deny: [] } }),
      tool("x"),
    ],
    ["policy", "does not allow the tool web_x", /policy.yaml/, policy({ tools: { allow: ["web_*"], deny: ["*_x"] } }), tool("web_x")],
    ["policy", "does not allow the session main", /policy.yaml on nas2/, policy({ sessions: [] }), agent({ session: "main" })],
    ["policy", "does not allow the session cluster-a-t1", /./, policy({ sessions: ["*"] }), tool("x", { session: "cluster-a-t1" })],
    ["policy", "does not allow the user ann", /policy.yaml on nas2/, policy({ users: { allow: ["bob"], deny: [] } }), echo()],
    ["policy", "does not allow the user ann", /policy.yaml/, policy({ users: { allow: ["*"], deny: ["token:me"] } }), echo()],
    [
      "quiet_hours",
      "does not take work until 07:00 (UTC) by its policy",
      "wait, or change hours in policy.yaml on nas2",
      quiet({}),
      echo(),
    ],
    ["quiet_hours", "does not take work by its policy", /wait/, quiet({ quiet: {} }), echo({ require: { nodes: [id("nas2")] } })],
    ["quiet_hours", /07:00/, /name no other node in require.nodes \(--on nas2\)/, quiet({ pinned: true }), echo()],
    [
      "sandbox",
      "has no sandbox, without which its policy does not run make: bubblewrap (bwrap) is not installed",
      "install bubblewrap on nas2, or change sandbox in policy.yaml there",
      boxed(["/usr/bin/make"]),
      command({}, "make"),
    ],
    ["sandbox", /does not run git/, /bubblewrap/, boxed(["**"]), command({}, "git")],
    ["os", "runs linux, not darwin or win32", /darwin or win32/, nas(), echo({ require: { os: ["darwin", "win32"] } })],
    ["arch", "is x64, not arm64", /arm64/, nas(), echo({ require: { arch: ["arm64"] } })],
    [
      "labels",
      "has no label gpu=yes, room=attic instead of cellar",
      "label it: openclaw-cluster nodes label nas2 gpu=yes room=cellar",
      node("nas2", { labels: { room: "attic" } }),
      echo({ require: { labels: { gpu: "yes", room: "cellar" } } }),
    ],
    ["skills", "has no skill video", "install the skill video on nas2", nas(), agent({ skill: "video" })],
    [
      "skills",
      /not eligible: missing bins: ffmpeg, env: KEY/,
      /make it eligible on nas2/,
      nas({ skills: [skill] }),
      echo({ require: { skills: ["video"] } }),
    ],
    [
      "models",
      "has no model local/tiny, gpt",
      /on nas2/,
      nas({ openclaw }),
      agent({ model: "gpt" }, { require: { models: ["local/tiny"] } }),
    ],
    ["models", "has no model 8", /on nas2/, nas({ openclaw }), agent({ model: "8" })],
    ["kind", "lends no models", /allow.models/, nas(), model()],
    ["policy", "does not allow the user ann", /./, lendsTo({ users: { allow: ["bob"], deny: [] } }), model()],
    [
      "models",
      /^lends no model qwen3:9b, but qwen3:8b$/,
      /takes names, not aliases/,
      nas({ lends: [lends("qwen3:8b")] }),
      model({ model: "qwen3:9b" }),
    ],
    ["models", /^lends no model zebra$/, /model server on nas2/, nas({ lends: [lends("qwen3:8b")] }), model({ model: "zebra" })],
    ["models", "lends no model for auto", /models/, nas({ lends: [] }), model()],
    ["models", "lends no model for auto:embed", /models/, nas({ lends: [lends("m")] }), model({ embed: "a" })],
    ["models", "lends m, which makes no embeddings", /nas2/, nas({ lends: [lends("m")] }), model({ model: "m", embed: "a" })],
    ["models", /JSON schema/, /nas2/, nas({ lends: [lends("m", { can: { json: false } })] }), model({ schema: {} })],
    [
      "models",
      /a context of 4096 tokens/,
      /nas2/,
      nas({ lends: [lends("m", { contextTokens: 4_096 })] }),
      model({ prompt: "a".repeat(13_000) }),
    ],
    [
      "quiet_hours",
      "does not lend models until 07:00 (UTC) by its policy",
      /wait/,
      lendsTo({ hours: NIGHT }, []),
      model({}, { require: { nodes: [id("nas2")] } }),
    ],
    ["slots_short", "has 4 slots in all, and the task takes 5", /at least 5 slots/, nas(), echo({ require: { slots: 5 } })],
    [
      "memory_short",
      "can set aside 9000 MiB in all, and the task takes 9001",
      /has 10000 MiB/,
      nas(),
      echo({ require: { memoryMiB: 9_001 } }),
    ],
    [
      "memory_short",
      "lets a command take 512 MiB, and the task takes 513",
      "raise limits.memoryMiB in policy.yaml on nas2",
      boxed([]),
      command({ require: { memoryMiB: 513 } }, "git"),
    ],
  ])("%s: %s", (code, detail, remedy, one, spec) => {
    const verdict = ask(one, spec);
    expect(verdict?.code).toBe(code);
    expect(verdict?.detail).toMatch(detail);
    expect(verdict?.remedy).toMatch(remedy);
  });
});

function lendsTo(more: Partial<NodeFacts["policy"]>, lent = [lends("m")]): SchedulableNode {
  return nas({ lends: lent, policy: { ...facts().policy, ...more } });
}

/** `required`: programs that run in a sandbox only. */
function boxed(required: string[], available = false): SchedulableNode {
  const limits = { memoryMiB: 512, processes: 1_024, fileMiB: 1_024, openFiles: 1_024, nice: 5 };
  const keeps = { memoryMiB: "cgroup", processes: "cgroup", fileMiB: "rlimit", openFiles: "rlimit", nice: true } as const;
  const reason = "bubblewrap (bwrap) is not installed";
  return nas({ confinement: { limits, keeps, sandbox: { available, ...(!available && { reason }), mode: "none", required } } });
}

function withoutOpenClaw(): NodeFacts {
  const { openclaw: _none, ...rest } = facts();
  return rest;
}
