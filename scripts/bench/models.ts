/**
 * How the router of local models does against others that know nothing of models, on the same conversations, in made-up
 * time: `--seed N`, `--conversations N`, `--every-s N` (between two of them), `--json`. Everything but time is real: the
 * router's own code chooses, queues and learns. What the machines do is a model of them (models-machine.ts), so read
 * the ratios, not the seconds.
 */
import { parseArgs } from "node:util";
import { MACHINES, makeTrace, seeded, type Conversation } from "./model-trace.ts";
import { Machine, type Request } from "./models-machine.ts";
import { ClusterRouter, plainRouter, REPORT_MS, type Router } from "./models-routers.ts";
import { percentiles } from "./percentiles.ts";

const BLOCK_TOKENS = 128;

export interface RouterResult {
  router: string;
  requests: number;
  firstTokenMs: { p50: number; p95: number; max: number };
  endMs: { p50: number; p95: number };
  coldLoads: number;
  /** Of the requests, by machine. */
  answered: Record<string, number>;
}

type MakeRouter = (machines: readonly Machine[], seed: number) => Router;

const ROUTERS: Readonly<Record<string, MakeRouter>> = {
  cluster: (machines) => new ClusterRouter(machines),
  "least connections": (machines, seed) => {
    const random = seeded(seed + 2);
    return plainRouter(machines, (having, active) => {
      const least = Math.min(...having.map(active));
      const equal = having.filter((one) => active(one) === least);
      return equal[Math.floor(random() * equal.length)] as Machine;
    });
  },
  random: (machines, seed) => {
    const random = seeded(seed + 1);
    return plainRouter(machines, (having) => having[Math.floor(random() * having.length)] as Machine);
  },
  "round robin": (machines) => {
    const turns = new Map<string, number>();
    return plainRouter(machines, (having, _active, { model }) => {
      const turn = turns.get(model) ?? 0;
      turns.set(model, turn + 1);
      return having[turn % having.length] as Machine;
    });
  },
};

export async function benchModels(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      json: { type: "boolean", default: false },
      seed: { type: "string", default: "1" },
      conversations: { type: "string", default: "400" },
      "every-s": { type: "string", default: "120" },
    },
  });
  const [seed, conversations, everyS] = [Number(values.seed), Number(values.conversations), Number(values["every-s"])];
  const trace = makeTrace({ seed, conversations, everyMs: everyS * 1_000 });
  const results = Object.entries(ROUTERS).map(([name, make]) => play(name, make, trace, seed));
  if (values.json) process.stdout.write(`${JSON.stringify({ seed, conversations, everyS, results }, null, 2)}\n`);
  else print(results);
}

/** The next event is the earliest of: a turn that comes, a machine's next, the nodes' next report. */
function play(name: string, make: MakeRouter, trace: readonly Conversation[], seed: number): RouterResult {
  const firstTokens: number[] = [];
  const ends: number[] = [];
  const coming = trace.map((conversation) => ({
    conversation,
    turn: 0,
    promptTokens: conversation.systemTokens,
    atMs: conversation.startMs,
  }));
  const open = new Map<string, (typeof coming)[number]>();
  const machines = MACHINES.map(
    (spec) =>
      new Machine(
        spec,
        (request, now) => {
          firstTokens.push(now - request.arrivedMs + 2 * spec.roundTripMs);
          router.firstToken(request, now);
        },
        (request, now) => {
          ends.push(now - request.arrivedMs);
          const one = open.get(request.id) as (typeof coming)[number];
          open.delete(request.id);
          one.promptTokens += request.answerTokens;
          one.turn++;
          const next = one.conversation.turns[one.turn];
          if (next !== undefined) coming.push({ ...one, atMs: now + next.thinkMs });
          router.ended(request, now);
        },
      ),
  );
  const router = make(machines, seed);
  let reportMs = 0;
  while (coming.length + open.size > 0) {
    const next = coming.reduce<(typeof coming)[number] | undefined>(
      (first, one) => (first === undefined || one.atMs < first.atMs ? one : first),
      undefined,
    );
    const machine = machines.reduce((first, one) => (one.nextMs() < first.nextMs() ? one : first));
    const now = Math.min(next?.atMs ?? Infinity, machine.nextMs(), reportMs);
    if (now === reportMs) {
      for (const one of machines) one.advance(now);
      router.report?.();
      reportMs += REPORT_MS;
    } else if (now === next?.atMs) {
      coming.splice(coming.indexOf(next), 1);
      const { saidTokens } = next.conversation.turns[next.turn] as { saidTokens: number };
      next.promptTokens += saidTokens;
      const request = requestOf(next, now);
      open.set(request.id, next);
      router.arrive(request, now);
    } else machine.advance(now);
  }
  const { p50, p95, max } = percentiles(firstTokens);
  const end = percentiles(ends);
  return {
    router: name,
    requests: ends.length,
    firstTokenMs: { p50, p95, max },
    endMs: { p50: end.p50, p95: end.p95 },
    coldLoads: machines.reduce((sum, { coldLoads }) => sum + coldLoads, 0),
    answered: Object.fromEntries(machines.map(({ spec, answered }) => [spec.node, answered])),
  };
}

function requestOf(
  { conversation, turn, promptTokens }: { conversation: Conversation; turn: number; promptTokens: number },
  now: number,
): Request {
  const { name, user, model, agent, systemTokens, turns } = conversation;
  const hashes = Array.from({ length: Math.floor(promptTokens / BLOCK_TOKENS) }, (_, block) =>
    (block + 1) * BLOCK_TOKENS <= systemTokens ? `a${agent}.${block}` : `${name}.${block}`,
  );
  return {
    id: `${name}.${turn}`,
    conversation: name,
    user,
    model,
    promptTokens,
    answerTokens: turns[turn]?.answerTokens ?? 0,
    hashes,
    arrivedMs: now,
  };
}

function print(results: readonly RouterResult[]): void {
  const seconds = (ms: number): string => (ms / 1_000).toFixed(1).padStart(7);
  const out = (line: string): void => void process.stdout.write(`${line}\n`);
  out("router              requests   first token, s: p50     p95     max   end, s: p50     p95   cold loads   answered by");
  for (const { router, requests, firstTokenMs, endMs, coldLoads, answered } of results) {
    const by = Object.entries(answered)
      .map(([node, count]) => `${node} ${count}`)
      .join(", ");
    out(
      `${router.padEnd(18)}  ${String(requests).padStart(8)}           ${seconds(firstTokenMs.p50)} ${seconds(firstTokenMs.p95)} ${seconds(firstTokenMs.max)}       ${seconds(endMs.p50)} ${seconds(endMs.p95)}   ${String(coldLoads).padStart(10)}   ${by}`,
    );
  }
  const of = (name: string): RouterResult => results.find(({ router }) => router === name) as RouterResult;
  const [ours, theirs] = [of("cluster"), of("round robin")];
  out(
    `against round robin: p95 of the first token ${(theirs.firstTokenMs.p95 / ours.firstTokenMs.p95).toFixed(1)}× better, cold loads ${(theirs.coldLoads / Math.max(1, ours.coldLoads)).toFixed(1)}× fewer`,
  );
}
