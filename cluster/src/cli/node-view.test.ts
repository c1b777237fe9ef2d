import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NodeFacts } from "@openclaw-cluster/contract/node";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { SAMPLE_NODE } from "../../../tests/support/fake-answers.ts";
import { runCli, type CliOptions } from "../../../tests/support/terminal.ts";

let api: TestApi;
let home: string;
let env: Record<string, string>;
beforeEach(async () => {
  api = await startApi();
  home = await mkdtemp(join(tmpdir(), "cli-node-"));
  env = { OPENCLAW_CLUSTER_HOME: home, OPENCLAW_CLUSTER_URL: api.url, OPENCLAW_CLUSTER_TOKEN: api.tokens.admin };
});
afterEach(async () => {
  await api.close();
  await rm(home, { recursive: true });
});

const cli = (argv: readonly string[], options: CliOptions = {}): ReturnType<typeof runCli> => runCli(argv, { env, ...options });

it("shows a node's policy in short", async () => {
  const shown = async (policy: NodeFacts["policy"]): Promise<string> => {
    api.coordinator.changeNode({ facts: { ...(SAMPLE_NODE.facts as NodeFacts), policy } });
    const { stdout } = await cli(["nodes", "show", "studio"]);
    return /^policy allows[^]*(?=^OpenClaw)/m.exec(stdout)?.[0].replaceAll(/ {2,}/g, ": ") ?? stdout;
  };
  expect(await shown({ kinds: [] })).toBe("policy allows: nothing\n");
  expect(
    await shown({
      kinds: ["echo", "agent", "command"],
      agents: ["main"],
      commands: ["git", "uname"],
      users: { allow: ["*"], deny: ["bob"] },
      hours: { text: "22:00-07:00 (UTC)", pinned: false, quiet: { until: 1, text: "07:00 (UTC)" } },
    }),
  ).toBe(
    [
      "policy allows: echo agent command",
      "its agents: main",
      "its programs: git uname",
      "its users: everybody, never bob",
      "quiet hours: 22:00-07:00 (UTC); now, until 07:00 (UTC)\n",
    ].join("\n"),
  );
  const lines = { commands: ["git pull", "never rm"], folders: ["/srv/a"], variables: ["TZ", "APP_*"], secrets: ["KEY"], leftOut: 3 };
  const tools = { allow: ["web_*"], deny: ["web_post"] };
  const full: NodeFacts["policy"] = { kinds: ["tool", "command"], tools, sessions: ["main"], commands: ["git"], rules: lines };
  expect((await shown(full)).split("\n")).toEqual([
    "policy allows: tool command",
    "its tools: web_*, never web_post",
    "its sessions: each user's own, and main",
    "its programs: git",
    "its commands: git pull",
    ": never rm",
    "its folders: /srv/a",
    "its variables: TZ APP_*",
    "its secrets: KEY",
    ": and 3 more lines",
    "",
  ]);
  expect(await shown({ kinds: ["tool"], sessions: [] })).toBe("policy allows: tool\nits tools: any\nits sessions: each user's own\n");
  const submitter = (await cli(["nodes", "show", "studio"], { env: { ...env, OPENCLAW_CLUSTER_TOKEN: api.tokens.submitter } })).stdout;
  expect(submitter).not.toContain("its sessions");
});
