/** Real programs that are given secrets; what comes of them is looked through. */
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { ClusterId, NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { CommandInput, TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Outcome } from "@openclaw-cluster/contract/wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Policy } from "../core/policy.ts";
import { silentLog } from "../system/log.ts";
import { readSecrets, removeSecret, setSecret } from "../system/secret-file.ts";
import { commandExecutor } from "./command.ts";
import type { Execution } from "./executors.ts";
import { withSecrets } from "./secrets.ts";

const SECRET = 'open/sesame+"%4711';
const POLICY = { version: 1, allow: { commands: ["sh -c *"], env: ["KEY", "SAID"], secrets: ["DOOR", "NONE"] } };

let folder: string;
let file: string;
beforeAll(async () => {
  folder = realpathSync(mkdtempSync(path.join(tmpdir(), "ocx-secrets-")));
  file = path.join(folder, "secrets.yaml");
  await setSecret(file, "DOOR", SECRET);
  await setSecret(file, "OTHER", "another one");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function run(
  script: string,
  env: NonNullable<CommandInput["env"]>,
  policy: unknown = POLICY,
): Promise<{ outcome: Outcome; printed: string }> {
  const source = { current: () => Policy.parse(policy) };
  const executor = withSecrets(commandExecutor({ policy: source, inherited: process.env }), { policy: source, file });
  let printed = "";
  const spec: Extract<TaskSpec, { kind: "command" }> = { kind: "command", input: { argv: ["sh", "-c", script], env } };
  const execution: Execution = {
    cluster: "abcd1234" as ClusterId,
    node: "n1" as NodeId,
    offer: { task: "t1" as TaskId, attempt: 1, epoch: 1, spec },
    signal: new AbortController().signal,
    folder,
    log: silentLog,
    output: async (_stream, text) => void (printed += text),
    progress: () => undefined,
    acted: () => undefined,
  };
  return { outcome: await executor.run(spec, execution), printed };
}

const KEY = { KEY: { secret: "DOOR" } };

describe.skipIf(process.platform === "win32")("a command that is given a secret", () => {
  test("knows it, and what it prints does not hold it", async () => {
    const { outcome, printed } = await run(`[ "$KEY" = '${SECRET}' ] && echo "yes $SAID $KEY" && printf %s "$KEY" | base64`, {
      ...KEY,
      SAID: "plain",
    });
    expect(printed).toMatch(/^yes plain …\n/);
    expect(outcome).toMatchObject({ kind: "succeeded", result: { exitCode: 0, stdoutTail: printed } });
    expect(JSON.stringify(outcome) + printed).not.toContain(Buffer.from(SECRET).toString("base64").slice(0, 12));
  });

  test("nor does what comes in two pieces, what was cut off, or what failed", async () => {
    const { outcome, printed } = await run(`printf %.6s "$KEY"; sleep 0.1; printf %s "\${KEY#??????}"; echo "$KEY" >&2; exit 3`, KEY);
    expect(printed.replaceAll("\n", "")).toBe("……");
    expect(outcome).toMatchObject({
      kind: "failed",
      error: { code: "command_failed", data: { exitCode: 3, stdoutTail: "…", stderrTail: "…\n" } },
    });
    const long = await run(`for n in $(seq 2000); do printf %s "$KEY"; done`, KEY);
    expect(JSON.stringify(long)).not.toMatch(/sesame|4711/);
  });

  test("gets none that its policy does not name, and none that the node does not have", async () => {
    expect((await run("true", { KEY: { secret: "OTHER" } })).outcome).toMatchObject({
      kind: "refused",
      error: { code: "policy_denied", message: "This node's policy: a task may not use the secret OTHER." },
    });
    expect((await run("true", { KEY: { secret: "NONE" } })).outcome).toEqual({
      kind: "refused",
      error: { code: "secret_missing", message: "This node has no secret NONE." },
    });
    expect((await run("true", { PATH: { secret: "DOOR" } })).outcome).toMatchObject({ error: { code: "policy_denied" } });
  });

  test("gets none from a file that others may read", async () => {
    const before = readFileSync(file);
    rmSync(file);
    writeFileSync(file, before, { mode: 0o644 });
    expect((await run("true", KEY)).outcome).toMatchObject({ error: { code: "secret_missing" } });
    rmSync(file);
    writeFileSync(file, before, { mode: 0o600 });
    expect((await run("true", KEY)).outcome).toMatchObject({ kind: "succeeded" });
  });
});

describe("the file", () => {
  test("gives back what was put in, and forgets what is removed", async () => {
    const own = path.join(folder, "own.yaml");
    const odd = 'a: "b"\n- c #d\n\ttab ü 🦞';
    await setSecret(own, "A_1", odd);
    await setSecret(own, "B", "12345678");
    expect([...readSecrets(own)]).toEqual([
      ["A_1", odd],
      ["B", "12345678"],
    ]);
    expect([await removeSecret(own, "B"), await removeSecret(own, "B")]).toEqual([true, false]);
    expect([...readSecrets(own).keys()]).toEqual(["A_1"]);
    expect([...readSecrets(path.join(folder, "none.yaml"))]).toEqual([]);
  });

  test.each([
    ["1A", "12345678"],
    ["A", "short"],
    ["A", "nul\0-nul-nul"],
    ["__proto__", "12345678"],
  ])("refuses %j with %j, and says nothing of the value", async (name, value) => {
    const refusal = setSecret(file, name, value);
    await expect(refusal).rejects.toMatchObject({ code: "usage" });
    await expect(refusal).rejects.not.toMatchObject({ detail: expect.stringContaining("12345678") as string });
  });

  test.each(["[", "A: [1]", "A: short", "A B: 12345678-and-more", "- 12345678-and-more"])(
    "that says %j gives none, and is not quoted",
    (text) => {
      const broken = path.join(folder, "broken.yaml");
      writeFileSync(broken, text, { mode: 0o600 });
      expect(() => readSecrets(broken)).toThrow(expect.objectContaining({ code: "config_invalid" }));
      expect(() => readSecrets(broken)).not.toThrow(/12345678/);
    },
  );
});
