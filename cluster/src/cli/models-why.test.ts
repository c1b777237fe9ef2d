import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ModelPlan, ModelRequestPage, ModelRequestRecord } from "@openclaw-cluster/contract/model-requests";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { STARTED_AT } from "../../../tests/support/fake-answers.ts";
import { lentModel } from "../../../tests/support/fake-models.ts";
import { deskOf, TestSight } from "../../../tests/support/model-sight.ts";
import { runCli } from "../../../tests/support/terminal.ts";
import { clockTime, dayAndTime } from "./time.ts";

const studio = lentModel("qwen3:8b");
const nas = lentModel("qwen3:8b", { node: "nas", state: "cold" });
const embedder = lentModel("nomic", { node: "vm", can: { ...studio.can, chat: false, embeddings: true } });

let sight: TestSight;
let api: TestApi;
let home: string;
beforeEach(async () => {
  sight = new TestSight([studio, nas]);
  api = await startApi({ models: deskOf(sight) });
  home = await mkdtemp(join(tmpdir(), "cli-models-why-"));
});
afterEach(async () => {
  await api.close();
  await rm(home, { recursive: true });
});

const as = (token: string, ...argv: string[]): ReturnType<typeof runCli> =>
  runCli(["models", "why", ...argv], {
    env: { OPENCLAW_CLUSTER_HOME: home, OPENCLAW_CLUSTER_URL: api.url, OPENCLAW_CLUSTER_TOKEN: token },
  });
const cli = (...argv: string[]): ReturnType<typeof runCli> => as(api.tokens.submitter, ...argv);
const rows = (text: string): string[][] => text.split("\n").map((line) => line.split(/ {2,}/));

function noteAnswered(id: string): void {
  const notes = sight.note(id, { user: "submitter", on: studio.node });
  notes.turn(nas, 0);
  notes.failed("unreachable", "connection refused", 10);
  notes.waits(studio, 10);
  notes.turn(studio, 130);
  notes.firstToken(450);
  notes.over("answered", 100, 2_450);
}

describe("models why", () => {
  it("lists the last requests, newest first", async () => {
    noteAnswered("aaaaaaaa");
    sight.note("bbbbbbbb", { name: "qwen3:8b" }).waits(nas, 0);
    sight.note("cccccccc", { user: "node:laptop", name: 7 }).refused("bad_request", "model must be a name", 1);
    const time = clockTime(STARTED_AT);
    const { code, stdout } = await cli();
    expect(code).toBe(0);
    expect(rows(stdout)).toEqual([
      ["REQUEST", "TIME", "USER", "MODEL", "ANSWERED BY", "WAITED", "FIRST TOKEN", "TOKENS/S", "STATE"],
      ["cccccccc", time, "node:laptop", "-", "0ms", "failed"],
      ["bbbbbbbb", time, "ann", "qwen3:8b", "0ms", "waiting"],
      ["aaaaaaaa", time, "submitter", "auto", "qwen3:8b@studio", "120ms", "320ms", "50", "answered"],
      [""],
    ]);
    const { requests } = ModelRequestPage.parse(JSON.parse((await cli("--json")).stdout));
    expect(requests.map(({ id }) => id)).toEqual(["cccccccc", "bbbbbbbb", "aaaaaaaa"]);
    for (let n = 0; n < 25; n++) sight.note(`aaaaaaa${"abcdefghijklmnopqrstuvwxy"[n]}`);
    expect(rows((await cli()).stdout)).toHaveLength(22);
  });

  it("says what to do where there was none yet", async () => {
    expect(await cli()).toMatchObject({ code: 0, stdout: expect.stringMatching(/^No request for a model yet.*openclaw-cluster models/) });
  });

  it("tells of a request who asked, where it went and what spoke for each place", async () => {
    sight.models = [studio, nas, embedder];
    noteAnswered("aaaaaaaa");
    const { code, stdout } = await cli("aaaaaaaa");
    expect(code).toBe(0);
    const [told = "", asked = "", candidates = ""] = stdout.split("\n\n");
    expect(rows(told)).toEqual([
      ["request", "aaaaaaaa"],
      ["asked by", `submitter, ${dayAndTime(STARTED_AT)}`],
      ["model", "auto, only on studio"],
      ["kind", "/chat/completions, interactive, as a stream"],
      ["size", "about 1200 tokens to read, at most 400 to write"],
      ["state", "answered, 2.4s after it came, 120ms of it in line"],
      ["answered by", "qwen3:8b@studio"],
      [
        "first choice",
        expect.stringMatching(/^studio: loaded, 50% of the prompt cached there, first token expected in \d+ ms; 1 other is slower$/),
      ],
    ]);
    expect(rows(asked)).toEqual([
      ["ASKED", "NODE", "WAITED", "FIRST TOKEN", "TOKENS", "TOKENS/S", "ENDING", "WHAT WAS SAID"],
      ["qwen3:8b", "nas", "0ms", "unreachable", "connection refused"],
      ["qwen3:8b", "studio", "120ms", "320ms", "100", "50", "answered"],
    ]);
    const [title, first, second] = rows(candidates);
    expect(title?.slice(0, 8)).toEqual(["CANDIDATE (ms)", "NODE", "STATE", "CACHED", "TRIP", "QUEUE", "LOAD", "READ"]);
    expect(first?.slice(0, 6)).toEqual(["qwen3:8b ◂", "studio", "loaded", "50%", "2", "0"]);
    expect(second?.slice(0, 4)).toEqual(["qwen3:8b", "nas", "cold", "50%"]);
    expect(ModelRequestRecord.parse(JSON.parse((await cli("aaaaaaaa", "--json")).stdout)).state).toBe("answered");
  });

  it("says of another's request what is hidden, and why it was refused to whoever may know", async () => {
    sight.note("aaaaaaaa").refused("policy_denied", "studio does not lend to ann", 1);
    expect((await cli("aaaaaaaa")).stdout).toMatch(/^refused +policy_denied$[\s\S]*^hidden +what servers said: it is another user's/m);
    const { stdout } = await as(api.tokens.operator, "aaaaaaaa");
    expect(stdout).toMatch(/^refused +studio does not lend to ann \(policy_denied\)$/m);
    expect(stdout).not.toMatch(/^hidden/m);
  });

  it("says where a request would go now, for a short question or the one that is given", async () => {
    const { code, stdout } = await cli("auto");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^qwen3:8b@studio would answer auto now; studio: loaded, .*\n\nCANDIDATE/);
    await cli("--message", "a long question");
    const plan = ModelPlan.parse(JSON.parse((await cli("qwen3:8b", "--message", "a long question", "--json")).stdout));
    expect(plan.candidates.map(({ node }) => node)).toEqual(["studio", "nas"]);
    expect(sight.asked.map(({ path, body }) => [path, body["model"], body["messages"]])).toEqual([
      ["/chat/completions", "auto", [{ role: "user", content: "hello" }]],
      ["/chat/completions", "auto", [{ role: "user", content: "a long question" }]],
      ["/chat/completions", "qwen3:8b", [{ role: "user", content: "a long question" }]],
    ]);
  });

  it("says why nobody would answer, and of each place what is in the way", async () => {
    sight.models = Array.from({ length: 40 }, (_, n) => lentModel("m", { node: `n${n}` }));
    sight.forbidden = sight.models.map(({ node }) => node);
    const { code, stdout } = await cli("m");
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^nobody would answer m now: m@n0 is not lent to others \(policy_denied\)\n\nPASSED OVER +NODE +WHY\nm +n0 +is not lent to others\n/,
    );
    expect(stdout).toMatch(/\nand 8 more\n$/);
    expect((await cli("gpt-5")).stdout).toBe("nobody would answer gpt-5 now: no node lends a model gpt-5 (model_not_found)\n");
  });

  it("knows a model whose name looks like a request's, and a request that is not there", async () => {
    api.coordinator.lent = sight.models = [lentModel("deepseek")];
    expect((await cli("deepseek")).stdout).toMatch(/^deepseek@studio would answer deepseek now/);
    sight.note("deepseek");
    expect((await cli("deepseek")).stdout).toMatch(/^request +deepseek$/m);
    const { code, stdout, stderr } = await cli("zzzzzzzz");
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/There is no request zzzzzzzz.*models why.*not_found/);
  });

  it("needs a submitter's token for a plan, and a viewer's for what was", async () => {
    expect((await as(api.tokens.viewer)).code).toBe(0);
    expect(await as(api.tokens.viewer, "auto")).toMatchObject({ code: 1, stderr: expect.stringContaining("forbidden") });
  });

  it("lets no name or message steer the terminal", async () => {
    const evil = "x\u001b[2Jy\u0007";
    sight.models = [lentModel(evil), lentModel(`${evil}2`, { node: "nas" })];
    sight.forbidden = ["nas"];
    const notes = sight.note("aaaaaaaa", { user: `submitter`, name: evil });
    notes.turn(lentModel(evil), 0);
    notes.failed("faulty", evil, 1);
    notes.refused(evil, evil, 1);
    for (const argv of [[], ["aaaaaaaa"], [evil], ["auto"]]) {
      const { stdout, stderr } = await cli(...argv);
      expect(stdout + stderr).toContain("x[2Jy");
      expect(stdout + stderr).not.toMatch(/[\u001b\u0007]/);
    }
  });
});
