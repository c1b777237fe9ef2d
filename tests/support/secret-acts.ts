/** Everything that a cluster does, is asked and suffers, for tests/integration/secrets.test.ts. */
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { OPERATIONS } from "@openclaw-cluster/contract/operations";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { expect } from "vitest";
import { ask, type Answered, type Question } from "./api-server.ts";
import { until, untilOver } from "./daemon.ts";
import { bytesOf, filesBelow } from "./secret-search.ts";
import { IN_PAYLOAD, REFUSED_GATEWAY_TOKEN, SAY_IT, WRONG_CODE, WRONG_TOKEN, type Stage } from "./secret-stage.ts";

/** Not a secret, and everywhere: a place where it is not found was not looked at. */
export const MARK = "mark-of-this-test";
/** Of a node whom the coordinator refuses. */
export const STRANGER = "stranger";
const READY_MS = 60_000;
const ON_STUDIO = { nodes: ["studio" as NodeId] };
const ON_JOINED = { nodes: ["joined" as NodeId] };

export async function act(stage: Stage): Promise<void> {
  const { client } = stage;
  const leave = new AbortController();
  const listening = listen(stage, leave.signal);
  await until("both Gateways are reached", () => are(stage, ({ facts }) => facts?.openclaw?.reachable === true), READY_MS);
  const id = await work(stage);
  const cancelled = await startSleeping(stage);
  await client.cancel({ id: cancelled });
  await untilOver(stage, cancelled);
  await client.patchNode({ id: "studio" as NodeId, labels: { room: "office" } });
  await askEverything(stage, id);
  await askByCommand(stage, id);
  const struck = await startSleeping(stage);
  await askWrongly(stage);
  await crash(stage);
  await client.cancel({ id: struck });
  await untilOver(stage, struck);
  await beRefused(stage);
  leave.abort();
  await listening;
}

async function listen({ client }: Stage, signal: AbortSignal): Promise<void> {
  try {
    // It goes on by itself over the coordinator's crash.
    for await (const event of client.events({ signal })) void event;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

type Nodes = Awaited<ReturnType<Stage["client"]["nodes"]>>["nodes"];
async function are({ cluster }: Stage, so: (node: Nodes[number]) => boolean): Promise<true | undefined> {
  return (await cluster.client.nodes()).nodes.filter(so).length === 2 ? true : undefined;
}
const untilReady = (stage: Stage): Promise<true> => until("all are ready", () => are(stage, ({ state }) => state === "ready"), READY_MS);

/** Of every kind of task; gives the first one's id. */
async function work(stage: Stage): Promise<TaskId> {
  const { client } = stage;
  const agent = (message: string, more: object): TaskSpec => ({ kind: "agent", input: { message }, ...more });
  const command = (more: object, ...argv: string[]): TaskSpec => ({ kind: "command", input: { argv }, ...more });
  const well = await client.runMany([
    { kind: "echo", input: { value: MARK } },
    { kind: "command", input: { argv: ["env"], env: { SAID: MARK } }, require: ON_STUDIO },
    command({ require: ON_JOINED }, "env"),
    agent(MARK, { require: ON_STUDIO }),
    agent("hello", { require: ON_JOINED }),
    agent('use tool sessions_list {"limit":1}', { require: ON_STUDIO }),
  ]);
  expect(well).toMatchObject(well.map(() => ({ state: "succeeded" })));
  const ill = await client.runMany([
    agent("fail 400", { retry: { max: 0 } }),
    command({ require: ON_STUDIO }, "nowhere"),
    command({ retry: { max: 1, backoffMs: 0 } }, "false"),
  ]);
  expect(ill).toMatchObject(ill.map(() => ({ state: "failed" })));
  const again = ill.at(-1)!.id;
  await client.retry({ id: again });
  await untilOver(stage, again);
  await useSecret(stage);
  const tool: TaskSpec = { kind: "tool", input: { tool: "sessions_list", args: { limit: 1 } }, require: ON_STUDIO };
  expect(await client.run(tool)).toMatchObject({ state: "succeeded" });
  return well[0]!.id;
}

/** A command that knows it and says it, fails, and is tried again; and one that asks a node that does not have it. */
async function useSecret({ client }: Stage): Promise<void> {
  const env = { KEY: { secret: "PAYLOAD" } };
  const say: TaskSpec = {
    kind: "command",
    input: { argv: ["sh", "-c", SAY_IT], env },
    retry: { max: 1, backoffMs: 0 },
    require: ON_STUDIO,
  };
  const said = await client.run(say);
  const tail = expect.stringMatching(new RegExp(`…[^]*\\b${IN_PAYLOAD.length}\\n$`)) as string;
  expect(said).toMatchObject({ state: "failed", attempt: 2, error: { code: "command_failed", data: { stdoutTail: tail } } });
  const { id } = await client.submit({ ...say, require: ON_JOINED });
  await until("it is refused", async () => {
    const { attempts } = await client.attempts({ id });
    return attempts.some(({ error }) => error?.code === "secret_missing") ? true : undefined;
  });
  await client.cancel({ id });
  await untilOver({ client }, id);
}

async function startSleeping({ client }: Stage): Promise<TaskId> {
  const { id } = await client.submit({ kind: "command", input: { argv: ["sleep", "300"] }, require: ON_STUDIO });
  await until("it sleeps", async () => ((await client.getTask({ id })).state === "running" ? true : undefined));
  return id;
}

const askApi = ({ recorder, cluster }: Stage, question: Question): Promise<Answered> =>
  ask(Number(new URL(recorder.url).port), cluster.token, question);

/** Every question that changes nothing, of this table and of those to come. The events, which do not end, are listened to. */
async function askEverything(stage: Stage, task: TaskId): Promise<void> {
  const forms = Object.values(OPERATIONS).filter(({ method, path: form }) => method === "get" && form !== "/events");
  const request = await askModel(stage);
  const idFor = (form: string): string => (form.startsWith("/nodes") ? "studio" : form.startsWith("/models") ? request : task);
  const paths = forms.map(({ path: form }) => form.replace("{id}", idFor(form)).replace("{skill}", "none"));
  for (const one of [...paths.map((form) => `/api/v1${form}`), "/healthz", "/readyz", "/metrics", "/openapi.json"])
    expect({ one, status: (await askApi(stage, { path: one })).status }).toEqual({ one, status: 200 });
}

/** One that nobody has, about something that is nobody's business: its id. */
async function askModel(stage: Stage): Promise<string> {
  const body = { model: "nowhere", messages: [{ role: "user", content: IN_PAYLOAD }] };
  const { status, headers } = await askApi(stage, { method: "POST", path: "/v1/chat/completions", body });
  expect(status).toBe(404);
  return String(headers["x-cluster-request"]);
}

async function askByCommand({ say, studio, joined }: Stage, task: TaskId): Promise<void> {
  for (const line of ["status", "nodes", "backup", "config get", "doctor", "audit"]) await say(...line.split(" "), "--json");
  for (const line of ["status", "nodes show studio", "config get", "doctor", "audit", "logs -n 100000"]) await say(...line.split(" "));
  for (const name of ["show", "why", "logs"]) await say(name, task);
  for (const { home } of [studio, joined])
    for (const line of ["doctor", "config get", "logs -n 100000"]) await say(...line.split(" "), "--home", home);
}

async function askWrongly(stage: Stage): Promise<void> {
  const submit = (body: unknown): Question => ({ method: "POST", path: "/api/v1/tasks", body });
  const list = (headers: Record<string, string>): Question => ({ path: "/api/v1/tasks", headers });
  const questions = [
    submit(`{"kind": "echo", "input": ${WRONG_TOKEN}`),
    submit({ kind: "echo", input: { value: 1 }, name: [WRONG_TOKEN] }),
    submit({ kind: WRONG_TOKEN, input: {} }),
    submit({ kind: "echo", input: {}, labels: { x: WRONG_TOKEN.repeat(20) } }),
    { path: `/api/v1/tasks?token=${WRONG_TOKEN}` },
    { path: `/api/v1/tasks?state=${WRONG_TOKEN}` },
    { path: `/api/v1/tasks/${WRONG_TOKEN}` },
    { path: `/api/v1/${WRONG_TOKEN}` },
    list({ host: WRONG_TOKEN }),
    list({ origin: `http://${WRONG_TOKEN}` }),
    { method: "HEAD", path: "/api/v1/tasks" },
    list({ authorization: `Basic ${Buffer.from(WRONG_TOKEN).toString("base64")}` }),
    // Last, because after ten of them the address has to wait, whoever asks, until the coordinator is started again.
    ...Array.from({ length: 12 }, () => list({ authorization: `Bearer ${WRONG_TOKEN}` })),
  ];
  for (const question of questions) expect((await askApi(stage, question)).status).toBeGreaterThanOrEqual(400);
}

/** All of it is killed in the midst of work, each part once, and comes back. */
async function crash(stage: Stage): Promise<void> {
  const { cluster, studio, joined, reports } = stage;
  await stage.lookAtProcesses();
  for (const { pid } of [cluster.lead, studio, joined]) process.kill(pid, "SIGUSR2");
  await until("the reports are written", () => (filesBelow(reports).length === 3 ? true : undefined));
  for (const one of [cluster.lead, studio]) {
    await one.kill();
    await stage.keepWords(one);
    await one.start();
  }
  await untilReady(stage);
  process.kill(await cluster.natsPid(), "SIGKILL");
  await untilReady(stage);
}

/** A worker is refused by its Gateway, another by the coordinator, and a command by itself. */
async function beRefused(stage: Stage): Promise<void> {
  const { studio, recorder, say, words } = stage;
  await studio.stop();
  await stage.keepWords(studio);
  await writeFile(path.join(studio.home, "gateway.token"), REFUSED_GATEWAY_TOKEN, { mode: 0o600 });
  await studio.start();
  const logs = (): Buffer => Buffer.concat(filesBelow(path.join(studio.home, "logs")).map(bytesOf));
  await until("the Gateway's refusal", () => (logs().includes("it refused the connection") ? true : undefined));

  const home = path.join(stage.folder, STRANGER);
  const tokenFile = path.join(home, "wrong.token");
  await mkdir(home, { mode: 0o700 });
  await writeFile(tokenFile, WRONG_TOKEN, { mode: 0o600 });
  const settings = { roles: ["worker"], coordinator: { url: recorder.url, tokenFile } };
  await writeFile(path.join(home, "cluster.yaml"), JSON.stringify(settings), { mode: 0o600 });
  await say("start", "--home", home);
  await say("start", "--home", home, "--json", "--set", `openclaw.url=ws://ann:${WRONG_TOKEN}@127.0.0.1:1`);
  await say("status", "--url", `http://127.0.0.1:1/?token=${WRONG_TOKEN}`);
  await say("join", "--no-start", WRONG_CODE, "--home", path.join(stage.folder, "nobody"));
  const codes = words.slice(-4).map(({ bytes }) => /unauthorized|usage/.exec(String(bytes))?.[0]);
  expect(codes).toEqual(["unauthorized", "usage", "usage", "usage"]);
  await rm(tokenFile);
}
