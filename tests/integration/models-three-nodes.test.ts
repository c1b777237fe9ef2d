/**
 * What is promised of models on several machines, seen on real processes: three nodes, one with a real llama-server, one with what is
 * shaped like an Ollama, one with what is shaped like an LM Studio. Times are measured where people see them, at the cluster's list and
 * at the endpoint of another node, and printed.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { startCluster, until, type TestCluster } from "../support/daemon.ts";
import { CHAIN, chainText, PACED } from "../support/gguf-model.ts";
import { whyNoLlama } from "../support/llama-program.ts";
import { startLlamaServer, type LlamaServer } from "../support/llama-server.ts";
import { startModelShape, type ModelShape } from "../support/model-shapes.ts";
import { nodeEndpoint, type NodeEndpoint, type Told } from "../support/node-endpoint.ts";

/** What is promised: a server that starts is found by then, and one that stops is gone. */
const NOTICED_MS = 5_000;
/** For a machine with two cores that starts other tests' servers meanwhile. What was measured is printed. */
const BUSY_MARGIN_MS = 2_000;
const TEST_MS = 120_000;
const SHAPED = "alpha bravo charlie delta";
const OLLAMA = "llama3:8b";
const STUDIO = "qwen3";
const COLD = "cold:4b";
/** Of which PACED reads about 600 tokens a second, one a letter: for several seconds. */
const LONG_PROMPT = "word ".repeat(500);

const whyNot = await whyNoLlama();

describe.skipIf(whyNot !== undefined)(`models of three nodes${whyNot === undefined ? "" : ` (skipped: ${whyNot})`}`, () => {
  let cluster: TestCluster;
  let ollama: ModelShape;
  let studio: ModelShape;
  let llama: LlamaServer;
  let paced: LlamaServer;
  const at: Record<string, NodeEndpoint> = {};

  const chain = (port?: number): Promise<LlamaServer> =>
    startLlamaServer({ model: CHAIN, contextTokens: 2_048, slots: 2, ...(port !== undefined && { port }) });

  beforeAll(async () => {
    ollama = await startModelShape("ollama", { models: [{ id: OLLAMA }, { id: COLD, state: "cold" }] });
    studio = await startModelShape("lmstudio", { models: [{ id: STUDIO }, { id: `${COLD}-mlx`, state: "cold" }] });
    llama = await chain();
    paced = await startLlamaServer({ model: PACED, contextTokens: 8_192, slots: 1 });
    cluster = await startCluster();
    const servers: Record<string, { name: string; url: string }[]> = {
      rig: [
        { name: "llama", url: llama.url },
        { name: "paced", url: paced.url },
      ],
      gaming: [{ name: "ollama", url: ollama.url }],
      studio: [{ name: "lmstudio", url: studio.url }],
    };
    for (const [name, endpoints] of Object.entries(servers))
      at[name] = await nodeEndpoint(await cluster.addWorker(name, { models: { endpoints } }));
    const all = [CHAIN.name, PACED.name, OLLAMA, STUDIO];
    await until("all of them", async () => (await Promise.all(all.map((id) => isSeen(id)))).every(Boolean) || undefined);
  }, TEST_MS);
  beforeEach(() => {
    for (const shape of [ollama, studio]) Object.assign(shape.settings, { mode: "ok", listMode: "ok" });
  });
  afterAll(async () => {
    await cluster?.end();
    for (const server of [ollama, studio, llama, paced]) await server?.stop();
  }, TEST_MS);

  const endpoint = (node: string): NodeEndpoint => at[node] as NodeEndpoint;
  const placesOf = async (id: string): Promise<string[]> =>
    (await cluster.client.models()).models.filter((model) => model.id === id).map(({ node, state }) => `${node} ${state}`);
  /** In the cluster's list and at both other nodes; or in none of them. */
  const views = async (id: string): Promise<boolean[]> => [
    (await placesOf(id)).length > 0,
    ...(await Promise.all(Object.values(at).map(async ({ listed }) => (await listed()).includes(id)))),
  ];
  const isSeen = async (id: string): Promise<boolean> => (await views(id)).every(Boolean);
  const isGone = async (id: string): Promise<boolean> => !(await views(id)).some(Boolean);
  /** From when `act` has done it. */
  const expectSoon = async (what: string, act: () => unknown, isSo: () => Promise<boolean>): Promise<void> => {
    await act();
    const from = performance.now();
    await until(what, async () => (await isSo()) || undefined, NOTICED_MS + BUSY_MARGIN_MS);
    const ms = Math.round(performance.now() - from);
    process.stdout.write(`models: ${what} after ${ms} ms${ms > NOTICED_MS ? `, of ${NOTICED_MS} that are promised` : ""}\n`);
  };

  test("a server that stops is gone everywhere, and found when it starts", { timeout: TEST_MS }, async () => {
    const { port } = llama;
    const kill = (): Promise<void> => llama.stop();
    const again = async (): Promise<void> => void (llama = await chain(port));
    for (const [what, id, stop, start] of [
      ["the Ollama", OLLAMA, () => ollama.stop(), () => ollama.start()],
      ["the LM Studio", STUDIO, () => studio.stop(), () => studio.start()],
      ["the llama-server, killed,", CHAIN.name, kill, again],
    ] as const) {
      await expectSoon(`${what} is gone`, stop, () => isGone(id));
      await expectSoon(`${what} is back`, start, () => isSeen(id));
    }
  });

  test("a server that hangs is gone everywhere, and back when it goes on", { timeout: TEST_MS }, async () => {
    const stall = (shape: ModelShape, listMode: "stall" | "ok"): void => void Object.assign(shape.settings, { listMode });
    for (const [what, id, hang, goOn] of [
      ["the llama-server, frozen,", CHAIN.name, () => process.kill(llama.pid, "SIGSTOP"), () => process.kill(llama.pid, "SIGCONT")],
      ["the Ollama that hangs", OLLAMA, () => stall(ollama, "stall"), () => stall(ollama, "ok")],
      ["the LM Studio that hangs", STUDIO, () => stall(studio, "stall"), () => stall(studio, "ok")],
    ] as const) {
      await expectSoon(`${what} is gone`, hang, () => isGone(id));
      await expectSoon(`${what} is back`, goOn, () => isSeen(id));
    }
  });

  test("a server that is busy with a long prompt stays", { timeout: TEST_MS }, async () => {
    let isOver = false;
    const body = { model: PACED.name, max_tokens: 4, messages: [{ role: "user", content: LONG_PROMPT }] };
    const asked = endpoint("studio").ask("/v1/chat/completions", body);
    void asked.then(() => (isOver = true));
    const from = performance.now();
    // Each view for as long as it takes.
    while (!isOver) expect(await placesOf(PACED.name)).toEqual(["rig loaded"]);
    expect((await asked).status).toBe(200);
    process.stdout.write(
      `models: a llama-server that read and wrote for ${Math.round(performance.now() - from)} ms was listed throughout\n`,
    );
  });

  test("cold and loaded are told apart, and what is asked is loaded from then on", { timeout: TEST_MS }, async () => {
    for (const [node, id] of [
      ["gaming", COLD],
      ["studio", `${COLD}-mlx`],
    ] as const) {
      expect(await placesOf(id)).toEqual([`${node} cold`]);
      expect((await endpoint("rig").ask("/v1/chat/completions", { model: id, messages: [] })).status).toBe(200);
      await expectSoon(
        `${id} on ${node} is loaded`,
        () => undefined,
        async () => (await placesOf(id)).join() === `${node} loaded`,
      );
    }
    ollama.unload(COLD);
    await expectSoon(
      `${COLD} is cold again`,
      () => undefined,
      async () => (await placesOf(COLD)).join() === "gaming cold",
    );
  });

  const CASES = [
    { node: "rig", id: CHAIN.name, from: "gaming", says: chainText(CHAIN) },
    { node: "gaming", id: OLLAMA, from: "studio", says: SHAPED },
    { node: "studio", id: STUDIO, from: "rig", says: SHAPED },
  ] as const;
  const wordsOf = ({ text, json }: Told, stream: boolean): string => {
    if (!stream) return (json as { choices: [{ message: { content: string } }] }).choices[0].message.content;
    const events = [...text.matchAll(/^data: (\{.*\})$/gm)].map(([, data]) => JSON.parse(data as string) as Chunk);
    return events.map(({ choices }) => choices[0]?.delta.content ?? "").join("");
  };
  const expectAnswer = async (from: string, model: string, { node, id, says }: (typeof CASES)[number]): Promise<void> => {
    for (const stream of [false, true]) {
      const told = await endpoint(from).ask("/v1/chat/completions", { model, stream, messages: [{ role: "user", content: "Hello?" }] });
      const { status, headers } = told;
      expect({ model, stream, status, node: headers.get("x-cluster-node") }).toEqual({ model, stream, status: 200, node });
      expect([decodeURIComponent(headers.get("x-cluster-model") ?? ""), headers.get("x-cluster-attempts")]).toEqual([id, "1"]);
      expect(wordsOf(told, stream)).toBe(says);
      if (stream) expect(told.text.trimEnd().endsWith("data: [DONE]")).toBe(true);
    }
  };

  test.each(CASES)("$id answers on another node by its name, and by its name at its node", async (one) => {
    await expectAnswer(one.from, one.id, one);
    await expectAnswer(one.from, `${one.id}@${one.node}`, one);
    // As well on its own.
    await expectAnswer(one.node, one.id, one);
  });

  test("auto finds each of them: the largest, and with that one gone the next", { timeout: TEST_MS }, async () => {
    const [onRig, onGaming, onStudio] = CASES;
    // What a server of tests says of itself makes it the largest or the smallest.
    for (const id of ollama.models.map((model) => model.id)) ollama.remove(id);
    ollama.add({ id: OLLAMA, sizeBytes: 8e9 });
    studio.remove(`${COLD}-mlx`);
    await until("each has one", async () => ((await isGone(COLD)) && (await isGone(`${COLD}-mlx`))) || undefined);
    await expectAnswer("studio", "auto", onGaming);
    ollama.remove(OLLAMA);
    await until("it has none", async () => (await isGone(OLLAMA)) || undefined);
    await expectAnswer("rig", "auto", onStudio);
    studio.remove(STUDIO);
    await paced.stop();
    await until("only the llama-server is left", async () => ((await isGone(STUDIO)) && (await isGone(PACED.name))) || undefined);
    await expectAnswer("gaming", "auto", onRig);
  });
});

interface Chunk {
  readonly choices: readonly { readonly delta: { readonly content?: string | null } }[];
}
