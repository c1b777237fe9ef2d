/**
 * A node that was taken over: let in with a key of its own, given work, and saying whatever it likes about its own work and
 * that of others, under its own subjects, which are all that it has. What it says is made from the schemas of the messages.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Submitted } from "@openclaw-cluster/contract/task";
import { taskId, type NodeId, type TaskId } from "@openclaw-cluster/contract/ids";
import { Heartbeat, OutputChunk, Report, type AttemptRef, type Offers } from "@openclaw-cluster/contract/wire";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import fc from "fast-check";
import { z } from "zod";
import type { Bus } from "../../cluster/src/bus/bus.ts";
import { blobName, heartbeatFrom, offersTo, outputOf, reportFrom } from "../../cluster/src/bus/subjects.ts";
import { keyFor } from "../support/fake-keys.ts";
import { factsOf } from "../support/ram-cluster.ts";
import { openApiGround, WORKER, type ApiGround } from "./api-ground.ts";
import { valuesOf, type Schema } from "./from-schema.ts";
import { faultsOf } from "./judge.ts";
import { heldMiB } from "./memory.ts";
import { bytesOf, mutate, mutations, textForms, type Mutation } from "./mutation.ts";
import { countingLog, type Counted } from "./counting-log.ts";
import { KNOWN_BAD_NEWS } from "./known-bad-news.ts";

const EVIL = "evil" as NodeId;
/** Tasks that are given to it, and to the honest one, after so many messages. */
const WORK_EVERY = 20;
const WORK = 3;
const TURNS = 4;

interface News {
  readonly what: "report" | "heartbeat" | "output" | "blob";
  readonly body: unknown;
  readonly changes: readonly Mutation[];
  readonly blob: Buffer;
}

export interface Verdict {
  /** What became of the tasks that it was given, by state, and how many results it stored as blobs. */
  readonly ends: Readonly<Record<string, number>>;
  readonly faults: readonly string[];
  readonly messages: number;
  readonly logged: Counted;
  readonly grownMiB: number;
}

const schemaOf = (type: z.ZodType): Schema => z.toJSONSchema(type, { io: "input", target: "draft-2020-12" }) as Schema;
const bodies = (type: z.ZodType): fc.Arbitrary<unknown> => {
  const schema = schemaOf(type);
  return valuesOf(schema, schema["$defs"] as Record<string, Schema> | undefined);
};

function newsArbitrary(): fc.Arbitrary<News> {
  const blob = fc.tuple(fc.jsonValue(), textForms).map(([value, form]) => bytesOf(value, form));
  const of = (what: News["what"], body: fc.Arbitrary<unknown>): fc.Arbitrary<News> =>
    fc.record({ what: fc.constant(what), body, changes: mutations, blob });
  return fc.oneof(
    { weight: 4, arbitrary: of("report", bodies(Report)) },
    { weight: 3, arbitrary: of("heartbeat", bodies(Heartbeat)) },
    { weight: 1, arbitrary: of("output", bodies(OutputChunk)) },
    { weight: 1, arbitrary: of("blob", fc.constant(0)) },
  );
}

export async function fuzzNode({ seed, goesOn }: { seed: number; goesOn(messages: number): boolean }): Promise<Verdict> {
  const { log, counted } = countingLog();
  const ground = await openApiGround(log);
  try {
    const evil = await EvilNode.join(ground);
    const arbitrary = newsArbitrary();
    for (const news of KNOWN_BAD_NEWS) await evil.publish(news);
    const before = await heldMiB();
    let messages = 0;
    for (let batch = seed; goesOn(messages); batch += 1) {
      await evil.getWork();
      for (const news of fc.sample(arbitrary, { seed: batch, numRuns: WORK_EVERY })) await evil.say(news);
      messages += WORK_EVERY;
    }
    const faults = await evil.judge();
    return { faults, ends: evil.ends, messages, logged: counted, grownMiB: (await heldMiB()) - before };
  } finally {
    await ground.end();
  }
}

class EvilNode {
  private readonly ground: ApiGround;
  private readonly bus: Bus;
  private readonly offered: AttemptRef[] = [];
  private readonly others: TaskId[] = [];
  private readonly own: TaskId[] = [];
  readonly ends: Record<string, number> = {};
  private boot = 1;
  private said = 0;

  private constructor(ground: ApiGround) {
    this.ground = ground;
    this.bus = ground.cluster.net.connect(EVIL);
    this.bus.subscribe(offersTo(EVIL), ({ body, respond }) => {
      this.offered.push(...(body as Offers).offers.map(({ task, attempt, epoch }) => ({ task, attempt, epoch })));
      respond?.({});
    });
  }

  static async join(ground: ApiGround): Promise<EvilNode> {
    await ground.cluster.coordinator.enrol({ id: EVIL, publicKey: keyFor(EVIL) });
    const evil = new EvilNode(ground);
    await evil.beat();
    return evil;
  }

  async publish({ report, body }: { readonly report: boolean; readonly body: unknown }): Promise<void> {
    await unlessTooLarge(() => this.bus.publish(report ? reportFrom(EVIL) : heartbeatFrom(EVIL), body));
    await turns();
  }

  /** Of its own kind, so that what it makes up is not taken for an echo's; and the honest one gets something to lose. */
  async getWork(): Promise<void> {
    const spec = (node: string, n: number): TaskSpec =>
      node === EVIL
        ? { kind: "command", input: { argv: ["true"] }, require: { nodes: [EVIL] }, retry: { max: 3, backoffMs: 0 } }
        : { kind: "echo", input: { value: n, delayMs: n % 2 }, require: { nodes: [node as NodeId] } };
    const submit = (node: string): Promise<readonly Submitted[]> =>
      this.ground.client.submitMany(Array.from({ length: WORK }, (_, n) => spec(node, n)));
    this.own.push(...(await submit(EVIL)).map(({ id }) => id));
    this.others.push(...(await submit(WORKER)).map(({ id }) => id));
    await this.beat();
  }

  /** As it should, so that it counts as ready and gets more. */
  private async beat(): Promise<void> {
    const load = { cpu: 0, memoryFreeMiB: 1_000, diskFreeMiB: 1_000, running: 0, held: 0 };
    const facts = factsOf({ kinds: ["command"], policy: { kinds: ["command"] }, slots: 64 });
    this.bus.publish(heartbeatFrom(EVIL), { node: EVIL, boot: this.boot, n: ++this.said, load, facts, held: [] });
    await turns();
  }

  async say({ what, body, changes, blob }: News): Promise<void> {
    const wrong = mutate(this.plausible(body), changes);
    const [task, attempt] = [this.pick(0)?.task ?? taskId(1), 1];
    await unlessTooLarge(() => {
      if (what === "report") return this.bus.publish(reportFrom(EVIL), wrong);
      if (what === "heartbeat") return this.bus.publish(heartbeatFrom(EVIL), wrong);
      return what === "output"
        ? this.bus.append(outputOf(EVIL, task, attempt), wrong)
        : this.bus.putBlob(blobName(EVIL, task, attempt), blob);
    });
    await turns();
  }

  /** Such as is listened to: of its present life, about attempts that there are, its own for the most part. */
  private plausible(body: unknown): unknown {
    if (typeof body !== "object" || body === null) return body;
    this.said += 1;
    const whole = body as Record<string, unknown>;
    if ("boot" in whole) Object.assign(whole, { boot: this.boot, n: this.said });
    if ("node" in whole) whole["node"] = EVIL;
    return this.aboutAttempts(whole);
  }

  private aboutAttempts(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => this.aboutAttempts(item));
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value).map(([name, one]) => [name, this.aboutAttempts(one)] as const);
    const copy = Object.fromEntries(entries);
    const { attempt, outcome } = copy as { attempt?: unknown; outcome?: { kind?: unknown; blob?: unknown } };
    const ref = typeof attempt === "number" ? this.pick(attempt) : undefined;
    if (ref === undefined) return copy;
    if (outcome?.blob !== undefined && attempt !== undefined) outcome.blob = { blob: blobName(EVIL, ref.task, 1), bytes: 1 };
    return { ...copy, ...ref };
  }

  private pick(n: number): AttemptRef | undefined {
    const other = this.others.at(-1 - (n % WORK));
    if (n % 4 === 3 && other !== undefined) return { task: other, attempt: 1, epoch: 1 };
    return n % 5 === 4 ? undefined : this.offered.at(-1 - (n % Math.max(1, Math.min(this.offered.length, 2 * WORK))));
  }

  /** It is shut out, and everything is looked at that it could have spoiled. */
  async judge(): Promise<string[]> {
    const { ground } = this;
    const faults = await this.look();
    await ground.client.revokeNode({ id: EVIL });
    faults.push(...(await ground.broken()));
    for (const id of this.others) {
      const { state, node } = await ground.client.getTask({ id });
      if (state !== "succeeded" || node !== WORKER) faults.push(`${id}, which was the honest node's, is ${state} on ${node}`);
    }
    for (const id of this.own) {
      const { state, resultBlob } = await ground.client.getTask({ id });
      for (const end of [state, ...(resultBlob === undefined ? [] : ["blob"])]) this.ends[end] = (this.ends[end] ?? 0) + 1;
    }
    await this.bus.close();
    return faults;
  }

  /** As an operator would, at all that there is to see. */
  private async look(): Promise<string[]> {
    const tasks = [...this.own, ...this.others].flatMap((id) =>
      ["", "/why", "/attempts", "/result", "/logs"].map((end) => `/tasks/${id}${end}`),
    );
    const faults: string[] = [];
    for (const place of [
      ...tasks,
      "/tasks?limit=500",
      "/tasks/dead",
      "/nodes",
      `/nodes/${EVIL}`,
      `/nodes/${EVIL}/health`,
      "/cluster",
      "/queue",
    ]) {
      const shot = { operation: "", as: "viewer", method: "GET", target: `/api/v1${place}`, headers: [], body: undefined } as const;
      for (const fault of faultsOf(this.ground, shot, await this.ground.shoot(shot))) faults.push(`${place}: ${fault}`);
    }
    return faults;
  }
}

/** Such a message does not even leave: the bus of its own sender refuses it, and nats-server any other's. */
export async function unlessTooLarge(send: () => void | Promise<void>): Promise<void> {
  try {
    await send();
  } catch (error) {
    if (!(error instanceof ClusterError && error.code === "payload_too_large")) throw error;
  }
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn += 1) await new Promise((resolve) => void setImmediate(resolve));
}
