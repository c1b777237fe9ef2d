/** Models of every node behind one endpoint: real daemons, scripted model servers behind two of them, programs that ask on a third. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { startCluster, until, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { startModelShape, type ModelShape } from "../support/model-shapes.ts";
import { endpointAt, nodeEndpoint, type NodeEndpoint, type Told } from "../support/node-endpoint.ts";

const FOUND_MS = 5_000;
const TEST_MS = 60_000;

describe("models of all nodes", () => {
  let cluster: TestCluster;
  let ollama: ModelShape;
  let studio: ModelShape;
  const workers: Record<string, TestDaemon> = {};
  const at = (worker: string): Promise<NodeEndpoint> => nodeEndpoint(workers[worker] as TestDaemon);
  const askAt = async (worker: string, place: string, body?: object): Promise<Told> => (await at(worker)).ask(place, body);
  const listed = async (worker: string): Promise<string[]> => [...(await (await at(worker)).listed())].sort();
  const chat = (model: string, more: object = {}): object => ({ model, messages: [{ role: "user", content: "hello" }], ...more });

  beforeAll(async () => {
    ollama = await startModelShape("ollama", { models: [{ id: "llama3:8b" }] });
    studio = await startModelShape("lmstudio", { models: [{ id: "qwen3" }] });
    cluster = await startCluster();
    const servers = (name: string, { url }: ModelShape): object => ({ endpoints: [{ name, url }] });
    workers["gaming"] = await cluster.addWorker("gaming", { models: servers("ollama", ollama) });
    workers["studio"] = await cluster.addWorker("studio", { models: servers("lmstudio", studio) });
    workers["laptop"] = await cluster.addWorker("laptop", {});
  }, TEST_MS);
  afterEach(async () => {
    for (const shape of [ollama, studio]) Object.assign(shape.settings, { mode: "ok", tokensPerSecond: 100_000 });
  });
  afterAll(async () => {
    await cluster?.end();
    await ollama?.stop();
    await studio?.stop();
  }, TEST_MS);

  test("are found on every node, and gone when their server is", { timeout: TEST_MS }, async () => {
    await until("all models at the laptop", async () => (await listed("laptop")).join() === "auto,llama3:8b,qwen3" || undefined, FOUND_MS);
    ollama.add({ id: "phi4" });
    await until("a new one", async () => (await listed("laptop")).includes("phi4") || undefined, FOUND_MS);
    ollama.remove("phi4");
    await until("it is gone", async () => !(await listed("laptop")).includes("phi4") || undefined, FOUND_MS);
    await studio.stop();
    await until("its server is gone", async () => !(await listed("laptop")).includes("qwen3") || undefined, FOUND_MS);
    await studio.start();
    await until("it is back", async () => (await listed("laptop")).includes("qwen3") || undefined, FOUND_MS);
    const { models } = await cluster.client.models();
    expect(models.map(({ id, node, server, state }) => `${id} ${node} ${server} ${state}`)).toEqual([
      "llama3:8b gaming ollama loaded",
      "qwen3 studio lmstudio loaded",
    ]);
  });

  test("answer a program on another machine, whole and as a stream, and say who did", async () => {
    const whole = await askAt("laptop", "/v1/chat/completions", chat("qwen3"));
    expect(whole.status, whole.text).toBe(200);
    expect(whole.headers.get("x-cluster-node")).toBe("studio");
    expect(whole.json).toMatchObject({
      object: "chat.completion",
      choices: [{ message: { content: "alpha bravo charlie delta" } }],
    });
    const stream = await askAt("laptop", "/v1/chat/completions", chat("llama3:8b", { stream: true }));
    expect([stream.status, stream.headers.get("x-cluster-node")]).toEqual([200, "gaming"]);
    expect(stream.text).toContain("charlie");
    expect(stream.text.trim().endsWith("data: [DONE]")).toBe(true);
  });

  test("answer at the coordinator with a token of the cluster", async () => {
    const told = await endpointAt(cluster.url, cluster.token).ask("/v1/chat/completions", chat("auto"));
    expect(told.status, told.text).toBe(200);
    expect(["gaming", "studio"]).toContain(told.headers.get("x-cluster-node"));
    expect((await endpointAt(cluster.url, "wrong").ask("/v1/models")).status).toBe(401);
  });

  test("a node that fails before its first token is replaced by another one, unseen", async () => {
    ollama.add({ id: "twin" });
    studio.add({ id: "twin" });
    await until("both have it", async () => (await both("twin")) || undefined, FOUND_MS);
    for (const broken of [ollama, studio]) {
      broken.settings.mode = "garbage";
      const told = await askAt("laptop", "/v1/chat/completions", chat("twin", { stream: true }));
      expect(told.status, told.text).toBe(200);
      expect(told.text).toContain("delta");
      broken.settings.mode = "ok";
    }
    for (const shape of [ollama, studio]) shape.remove("twin");
  });

  test("one that fails after it is told, and never ends in silence", async () => {
    Object.assign(studio.settings, { mode: "dieMidStream", tokensPerSecond: 20 });
    const told = await askAt("laptop", "/v1/chat/completions", chat("qwen3", { stream: true }));
    expect(told.status).toBe(200);
    const last = told.text.trim().split("\n\n").at(-1) ?? "";
    expect(JSON.parse(last.replace("data: ", ""))).toMatchObject({ error: { code: "node_lost", type: "server_error" } });
    expect(told.text).not.toContain("[DONE]");
  });

  test("wrong requests are refused in OpenAI's words", async () => {
    const unknown = await askAt("laptop", "/v1/chat/completions", chat("qwen"));
    expect([unknown.status, unknown.json]).toMatchObject([
      404,
      { error: { code: "model_not_found", message: expect.stringContaining("qwen3") as string } },
    ]);
    for (const body of [chat("http://10.0.0.1/v1"), { ...chat("qwen3"), base_url: "http://10.0.0.1" }]) {
      const refused = await askAt("laptop", "/v1/chat/completions", body);
      expect([refused.status, refused.json]).toMatchObject([400, { error: { type: "invalid_request_error" } }]);
    }
    const laptop = await at("laptop");
    expect((await endpointAt(laptop.url, "ocm_wrong").ask("/v1/models")).status).toBe(401);
    expect((await laptop.ask("/v1/models", undefined, { headers: { origin: "https://evil.example" } })).status).toBe(403);
    expect((await askAt("laptop", "/v1/models/pull", { name: "x" })).status).toBe(404);
  });

  test("whoever goes away ends the answer where it is made", { timeout: TEST_MS }, async () => {
    studio.settings.mode = "endless";
    const leaving = new AbortController();
    const asked = chat("qwen3", { stream: true });
    const answer = await (await at("laptop")).open("/v1/chat/completions", asked, { signal: leaving.signal });
    await answer.body?.getReader().read();
    const request = studio.questions.at(-1);
    leaving.abort();
    await until("the server has heard of it", () => request?.closedAt ?? undefined, FOUND_MS);
    expect(request?.aborted).toBe(true);
  });

  async function both(id: string): Promise<boolean> {
    const { data } = (await askAt("laptop", "/v1/models")).json as { data: { id: string; owned_by: string }[] };
    return data.find((one) => one.id === id)?.owned_by.split(",").length === 2;
  }
});
