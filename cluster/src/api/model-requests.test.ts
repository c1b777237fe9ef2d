import { MODEL_REQUESTS, ModelRequestRecord } from "@openclaw-cluster/contract/model-requests";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startApi, type Answered, type TestApi } from "../../../tests/support/api-server.ts";
import { lentModel } from "../../../tests/support/fake-models.ts";
import { deskOf, TestSight } from "../../../tests/support/model-sight.ts";
import { tokenId } from "../trust/token.ts";

const studio = lentModel("qwen3:8b");
const nas = lentModel("qwen3:8b", { node: "nas", state: "cold" });

let sight: TestSight;
let api: TestApi;
beforeEach(async () => {
  sight = new TestSight([studio, nas]);
  api = await startApi({ models: deskOf(sight) });
});
afterEach(() => api.close());

const as = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
const listed = async (query = ""): Promise<ModelRequestRecord[]> =>
  (await api.ask({ path: `/api/v1/models/requests${query}` })).json.requests;
const idsIn = async (query: string): Promise<string[]> => (await listed(query)).map(({ id }) => id);

describe("the book of requests", () => {
  test("is listed newest first, by node, by model, and as many as are wished", async () => {
    sight.note("aaaaaaaa").turn(studio, 1);
    sight.note("bbbbbbbb", { name: "qwen3:8b" }).turn(nas, 1);
    sight.note("cccccccc");
    expect(await idsIn("")).toEqual(["cccccccc", "bbbbbbbb", "aaaaaaaa"]);
    expect(await idsIn("?limit=2")).toEqual(["cccccccc", "bbbbbbbb"]);
    expect(await idsIn("?node=studio")).toEqual(["aaaaaaaa"]);
    expect(await idsIn("?model=qwen3:8b")).toEqual(["bbbbbbbb", "aaaaaaaa"]);
    expect((await api.ask({ path: "/api/v1/models/requests?limit=501" })).status).toBe(400);
  });

  test("tells of one that is under way, and of its end", async () => {
    const notes = sight.note("aaaaaaaa");
    const state = async (): Promise<string> => (await api.ask({ path: "/api/v1/models/requests/aaaaaaaa" })).json.state;
    expect(await state()).toBe("waiting");
    notes.turn(studio, 1);
    notes.over("answered", 20, 900);
    expect(await state()).toBe("answered");
  });

  test("of another's says where it went and why, and no word that its server said; the same in a list", async () => {
    const notes = sight.note("aaaaaaaa");
    notes.turn(studio, 1);
    notes.failed("faulty", "secret of the prompt", 5);
    notes.turn(nas, 6);
    notes.firstToken(9);
    notes.over("answered", 20, 900);
    sight.note("bbbbbbbb").refused("node_lost", "the last one said: secret", 3);
    const [refused, answered] = await listed();
    for (const [token, whole] of [
      [api.coordinator.tokenFor("viewer", "ann"), true],
      [api.tokens.operator, true],
      [api.tokens.submitter, false],
      [api.tokens.viewer, false],
    ] as const) {
      const one = await api.ask({ path: "/api/v1/models/requests/aaaaaaaa", ...as(token) });
      const all = await api.ask({ path: "/api/v1/models/requests", ...as(token) });
      expect(one.text.includes("secret")).toBe(whole);
      expect(all.text.includes("secret")).toBe(whole);
      const attempts = answered?.attempts.map(({ error: _its, ...attempt }) => attempt);
      const outline = [
        { ...refused, refusal: { code: "node_lost", message: "" }, hidden: true },
        { ...answered, attempts, hidden: true },
      ];
      const expected = whole ? [refused, answered] : outline;
      expect([all.json.requests, one.json]).toEqual([expected, expected[1]]);
      for (const record of all.json.requests) expect(ModelRequestRecord.safeParse(record).error).toBeUndefined();
    }
  });

  test("says of one that it does not know what to do, and refuses what is no id", async () => {
    const { status, json } = await api.ask({ path: "/api/v1/models/requests/zzzzzzzz" });
    expect([status, json.code, json.detail]).toEqual([404, "not_found", expect.stringContaining("`openclaw-cluster models why`")]);
    expect((await api.ask({ path: "/api/v1/models/requests/t42" })).status).toBe(400);
  });
});

describe("a plan", () => {
  const plan = (body: object, token = api.tokens.admin): Promise<Answered> =>
    api.ask({ method: "POST", path: "/api/v1/models/plan", body, ...as(token) });

  test("says where a request would go now, for whoever asks", async () => {
    const token = api.tokens.submitter;
    const { status, json } = await plan({ model: "qwen3:8b", messages: [], stream: true }, token);
    expect(status).toBe(200);
    expect(json.candidates.map(({ node }: { node: string }) => node)).toEqual(["studio", "nas"]);
    expect(sight.asked).toEqual([
      {
        ...{ path: "/chat/completions", body: { model: "qwen3:8b", messages: [], stream: true } },
        asker: { token: tokenId(token), name: "submitter" },
      },
    ]);
    expect(await listed()).toEqual([]);
  });

  test("says why nobody would answer", async () => {
    expect((await plan({ model: "gpt-5" })).json).toMatchObject({ candidates: [], refusal: { code: "model_not_found" } });
    sight.forbidden = ["nas"];
    expect((await plan({ model: "qwen3:8b" })).json.passedOver).toMatchObject([{ node: "nas", code: "forbidden" }]);
    expect((await plan({ model: "auto:embed", path: "/embeddings", input: "a" })).json.refusal.code).toBe("model_not_found");
    expect((await plan({ model: "qwen3:8b", path: "/embeddings", input: "a" })).json.refusal.code).toBe("unsupported");
  });

  test("knows a response by its fields, and embeddings by the path that is said", async () => {
    await plan({ model: "auto", input: "a" });
    await plan({ model: "auto", input: "a", path: "/embeddings" });
    await plan({ model: "auto", input: "a", messages: [] });
    expect(sight.asked.map(({ path, body }) => [path, Object.keys(body)])).toEqual([
      ["/responses", ["model", "input"]],
      ["/embeddings", ["model", "input"]],
      ["/chat/completions", ["model", "input", "messages"]],
    ]);
  });

  test("is refused without a name, at another path, and where it is too large", async () => {
    expect((await plan({ messages: [] })).status).toBe(400);
    expect((await plan({ model: "auto", path: "/completions" })).status).toBe(400);
    const large = await plan({ model: "auto", messages: "x".repeat(MODEL_REQUESTS.planBytesMax) });
    expect([large.status, large.json.code]).toEqual([413, "payload_too_large"]);
    expect(sight.asked).toEqual([]);
  });
});

test("where no requests for models come through, that is said, and there are no figures of them", async () => {
  const bare = await startApi();
  for (const question of [
    { path: "/api/v1/models/requests" },
    { path: "/api/v1/models/requests/aaaaaaaa" },
    { method: "POST", path: "/api/v1/models/plan", body: { model: "auto" } },
  ]) {
    const { status, json } = await bare.ask(question);
    expect([status, json.code, json.detail]).toEqual([404, "not_found", expect.stringContaining("models.enabled")]);
  }
  expect((await bare.ask({ path: "/metrics" })).text).not.toContain("openclaw_cluster_model");
  await bare.close();
});

describe("metrics", () => {
  const figures = async (): Promise<string[]> =>
    (await api.ask({ path: "/metrics" })).text.split("\n").filter((line) => line.includes("openclaw_cluster_model"));

  test("tell of each model of a node how quick it is, and how requests ended", async () => {
    for (const [id, firstMs] of [
      ["aaaaaaaa", 80],
      ["bbbbbbbb", 3_000],
    ] as const) {
      const notes = sight.note(id);
      notes.turn(studio, 0);
      notes.firstToken(firstMs);
      notes.over("answered", 100, firstMs + 2_500);
    }
    const failed = sight.note("cccccccc");
    failed.turn(studio, 0);
    failed.failed("silent", "", 9);
    sight.work = [
      { place: studio, queued: 3, inFlight: 1 },
      { place: { ...studio, endpoint: "spare" }, queued: 1, inFlight: 1 },
    ];
    const lines = await figures();
    const labels = 'node="studio",model="qwen3:8b"';
    const buckets = (name: string): [string, number][] =>
      lines
        .filter((line) => line.startsWith(`openclaw_cluster_${name}_bucket{${labels},le="`))
        .map((line) => [/le="([^"]+)"/.exec(line)?.[1] ?? "", Number(line.split(" ").at(-1))]);
    expect(buckets("model_first_token_seconds").filter(([, count], at, all) => count !== all[at - 1]?.[1])).toEqual([
      ["0.05", 0],
      ["0.1", 1],
      ["5", 2],
    ]);
    expect(buckets("model_first_token_seconds").at(-1)).toEqual(["+Inf", 2]);
    expect(buckets("model_tokens_per_second").filter(([, count]) => count > 0)[0]).toEqual(["40", 2]);
    expect(lines).toEqual(
      expect.arrayContaining([
        "# TYPE openclaw_cluster_model_first_token_seconds histogram",
        `openclaw_cluster_model_first_token_seconds_sum{${labels}} 3.08`,
        `openclaw_cluster_model_first_token_seconds_count{${labels}} 2`,
        `openclaw_cluster_model_tokens_per_second_sum{${labels}} 80`,
        "# TYPE openclaw_cluster_model_requests_total counter",
        `openclaw_cluster_model_requests_total{${labels},ending="answered"} 2`,
        `openclaw_cluster_model_requests_total{${labels},ending="silent"} 1`,
        `openclaw_cluster_model_tokens_total{${labels}} 200`,
        `openclaw_cluster_model_waiting{${labels}} 4`,
        `openclaw_cluster_model_at_work{${labels}} 2`,
      ]),
    );
  });

  test("are in the Prometheus text format, each series once, whatever a model is called", async () => {
    for (const [n, id] of ['"\n\\', "{}", "le", "le "].entries()) {
      const notes = sight.note(`aaaaaaa${"abcd"[n]}`);
      const place = lentModel(id);
      notes.turn(place, 0);
      notes.firstToken(1);
      notes.over("answered", 10, 20);
      sight.work.push({ place, queued: n, inFlight: 0 });
    }
    const lines = await figures();
    for (const line of lines) {
      expect(line).toMatch(
        /^# (HELP|TYPE) openclaw_cluster_\w+ .+$|^openclaw_cluster_\w+(\{(\w+="([^"\\\n]|\\["\\n])*",?)+\})? ([0-9.e+-]+)$/,
      );
    }
    const series = lines.filter((line) => !line.startsWith("#")).map((line) => line.slice(0, line.lastIndexOf(" ")));
    expect(new Set(series).size).toBe(series.length);
  });
});
