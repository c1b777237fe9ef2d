/**
 * The node of a hostile campaign (hostile-node.ts): let in with a key of its own, given work beside an honest one, and heard.
 *
 * E1. Its lies are plausible for the most part: of its present life, about attempts that there are. Others are refused at the door.
 * E2. What is the honest node's stays as it would have been: results, and output, of which an echo has none.
 */
import { taskId, type NodeId, type TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { AttemptRef, Offers } from "@openclaw-cluster/contract/wire";
import type { Bus } from "../../cluster/src/bus/bus.ts";
import { blobName, heartbeatFrom, offersTo, outputOf, reportFrom } from "../../cluster/src/bus/subjects.ts";
import { keyFor } from "../support/fake-keys.ts";
import { factsOf } from "../support/ram-cluster.ts";
import type { ApiGround } from "./api-ground.ts";
import { endAll } from "./cluster-state.ts";
import type { Answer } from "./exchange.ts";
import { faultsOf } from "./judge.ts";
import { mutate, type Mutation } from "./mutation.ts";
import { WORKER, type Shot } from "./requests.ts";
import { unlessTooLarge } from "./too-large.ts";

export interface News {
  readonly what: "report" | "heartbeat" | "output" | "blob";
  readonly body: unknown;
  readonly changes: readonly Mutation[];
  readonly blob: Buffer;
}

const EVIL = "evil" as NodeId;
/** Tasks that are given to it at once, and to the honest one. */
const WORK = 3;
/** Of the event loop: until a message has arrived, is committed and answered. */
const TURNS = 4;
/** Until the honest one has done its work. */
const LATE_S = 30;
/** Heartbeats that say that it is another node: the first, and then one in a few seconds. */
const OTHERWISE_FIRST = 2;
const OTHERWISE_EVERY = 400;
/** Reports in which it may refuse what it was given: one in a few seconds. */
const REFUSES_EVERY = 400;
/** What a piece takes beside its bytes: some objects, its subject, its place in a list. */
const PIECE_BYTES = 400;
const MIB = 1024 * 1024;
/** What can be asked about each task, and about all. */
const OF_TASK = { getTask: "", why: "/why", attempts: "/attempts", result: "/result", logs: "/logs" } as const;
const OF_ALL = {
  listTasks: "/tasks?limit=500",
  deadLetters: "/tasks/dead",
  nodes: "/nodes",
  node: `/nodes/${EVIL}`,
  nodeHealth: `/nodes/${EVIL}/health`,
  cluster: "/cluster",
  health: "/cluster/health",
  queue: "/queue",
} as const;

export class EvilNode {
  readonly said: Record<News["what"], number> = { report: 0, heartbeat: 0, output: 0, blob: 0 };
  readonly ends: Record<string, number> = {};
  pieces = 0;
  private printedBytes = 0;
  /** Bytes of the last one of each name. */
  private readonly blobs = new Map<string, number>();
  private readonly ground: ApiGround;
  private readonly bus: Bus;
  private readonly offered: AttemptRef[] = [];
  private readonly others: TaskId[] = [];
  private readonly own: TaskId[] = [];
  private looked = 0;
  private boot = 1;
  private count = 0;

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

  /** What the bus in memory keeps for it, as a real one would on its disk. */
  get keptMiB(): number {
    return [...this.blobs.values()].reduce((sum, bytes) => sum + bytes, this.printedBytes) / MIB;
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
    const submit = async (node: string): Promise<TaskId[]> => {
      const submitted = await this.ground.client.submitMany(Array.from({ length: WORK }, (_, n) => spec(node, n)));
      return submitted.map(({ id }) => id);
    };
    this.own.push(...(await submit(EVIL)));
    this.others.push(...(await submit(WORKER)));
    await this.beat();
  }

  /** As it should, so that it counts as ready and gets more. */
  private async beat(): Promise<void> {
    const load = { cpu: 0, memoryFreeMiB: 1_000, diskFreeMiB: 1_000, running: 0, held: 0 };
    const facts = factsOf({ kinds: ["command"], policy: { kinds: ["command"] }, slots: 64 });
    this.bus.publish(heartbeatFrom(EVIL), { node: EVIL, boot: this.boot, n: ++this.count, load, facts, held: this.held() });
    await turns();
  }

  /** What it speaks of: the rest it lets go, and others get it. */
  private held(): AttemptRef[] {
    return this.offered.slice(-2 * WORK);
  }

  async say({ what, body, changes, blob }: News): Promise<void> {
    const plausible = this.plausible(body);
    const wrong = this.inLife(mutate(plausible, changes));
    this.said[what] += 1;
    await unlessTooLarge(() => {
      if (what === "report") return this.bus.publish(reportFrom(EVIL), wrong);
      if (what === "heartbeat") return this.bus.publish(heartbeatFrom(EVIL), wrong);
      return what === "output" ? this.print(plausible, wrong) : this.store(blob);
    });
    await turns();
  }

  /** Under the subject of the attempt that it meant to speak of. */
  private async print(meant: unknown, wrong: unknown): Promise<void> {
    const { task, attempt } = meant as Pick<AttemptRef, "task" | "attempt">;
    await this.bus.append(outputOf(EVIL, task, attempt), wrong);
    this.printedBytes += Buffer.byteLength(JSON.stringify(wrong) ?? "") + PIECE_BYTES;
  }

  private async store(blob: Buffer): Promise<void> {
    const name = blobName(EVIL, this.pick(0)?.task ?? taskId(1), 1);
    await this.bus.putBlob(name, blob);
    this.blobs.set(name, blob.length);
  }

  /** E1. */
  private plausible(body: unknown): unknown {
    if (typeof body !== "object" || body === null) return body;
    this.count += 1;
    const whole = body as Record<string, unknown>;
    if ("boot" in whole) Object.assign(whole, { boot: this.boot, n: this.count });
    if ("held" in whole) whole["held"] = [...this.held(), ...(whole["held"] as unknown[])];
    if ("node" in whole) Object.assign(whole, { node: EVIL }, this.staying(whole));
    return this.aboutAttempts(whole);
  }

  /** E1: whoever is another node with every word is soon taken for the one that it was, and with a full disk gets no work (coordinator/facts-pace.ts). */
  private staying({ facts, load }: Record<string, unknown>): Record<string, unknown> {
    const { heartbeat } = this.said;
    if (heartbeat < OTHERWISE_FIRST || heartbeat % OTHERWISE_EVERY === 0) return { facts };
    return { facts: undefined, load: { ...(load as object), diskFull: undefined } };
  }

  /** E1, also where a change has raised them: of whoever has spoken of a later life, or of its last word, nothing more is heard. */
  private inLife(value: unknown): unknown {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    const { boot, n } = value as { readonly boot?: unknown; readonly n?: unknown };
    return {
      ...value,
      ...(Number.isSafeInteger(boot) && (boot as number) > this.boot && { boot: this.boot }),
      ...(Number.isSafeInteger(n) && (n as number) > this.count && { n: this.count }),
    };
  }

  private aboutAttempts(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => this.aboutAttempts(item));
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value).map(([name, one]) => [name, this.aboutAttempts(one)] as const);
    const copy = Object.fromEntries(entries);
    const { attempt, outcome } = copy as { attempt?: unknown; outcome?: { kind?: unknown; blob?: unknown } };
    const ref = typeof attempt === "number" ? this.pick(attempt) : undefined;
    if (ref === undefined) return copy;
    // Whoever refuses is given no more for some seconds.
    if (outcome?.kind === "refused" && this.said.report % REFUSES_EVERY !== 0) outcome.kind = "failed";
    if (outcome?.blob !== undefined && attempt !== undefined) outcome.blob = { blob: blobName(EVIL, ref.task, 1), bytes: 1 };
    return { ...copy, ...ref };
  }

  /** Its own for the most part, of late; now and then the honest node's, and none that there is. */
  private pick(n: number): AttemptRef | undefined {
    const other = this.others.at(-1 - (n % WORK));
    if (n % 4 === 3 && other !== undefined) return { task: other, attempt: 1, epoch: 1 };
    return n % 5 === 4 ? undefined : this.held().at(-1 - (n % (2 * WORK)));
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
    return faults;
  }

  async close(): Promise<void> {
    await this.bus.close();
  }

  /** As an operator would, at all that there is to see of what has happened since the last look. */
  async look(): Promise<string[]> {
    const faults: string[] = [];
    for (const id of this.others.slice(this.looked)) await this.ground.client.getTask({ id, wait: LATE_S });
    for (const [operation, place] of Object.entries(OF_ALL)) faults.push(...(await this.ask(operation, place)).faults);
    for (const id of [...this.own.slice(this.looked), ...this.others.slice(this.looked)]) {
      for (const [operation, end] of Object.entries(OF_TASK)) {
        const { answer, faults: its } = await this.ask(operation, `/tasks/${id}${end}`);
        faults.push(...its);
        if (answer.stream !== undefined) faults.push(...(await this.listen(id, answer)));
      }
    }
    this.looked = this.own.length;
    // What it has left open would be held in memory for as long as it is.
    await endAll(this.ground.client);
    await this.beat();
    return faults;
  }

  /** E2; and whoever has read a part of it can go on behind that. */
  private async listen(id: TaskId, { stream }: Answer): Promise<string[]> {
    const pieces = (stream?.events ?? []).filter(({ name }) => name === "message");
    const last = pieces.at(-1)?.id;
    if (last === undefined) return [];
    if (this.others.includes(id)) return [`${id}, which was the honest node's, has printed ${pieces[0]?.data.slice(0, 200)}`];
    this.pieces += pieces.length;
    const { answer, faults } = await this.ask("logs", `/tasks/${id}/logs`, [["last-event-id", last]]);
    if (answer.stream === undefined) faults.push(`${id}: nobody can go on behind ${last}, its last piece: ${answer.text.slice(0, 200)}`);
    return faults;
  }

  private async ask(operation: string, place: string, headers: Shot["headers"] = []): Promise<{ answer: Answer; faults: string[] }> {
    const shot: Shot = { operation, as: "operator", method: "GET", target: `/api/v1${place}`, headers, body: undefined };
    const answer = await this.ground.shoot(shot);
    // Only of a result may it be that there is none.
    const mayLack = operation === "result" && [404, 409, 410, 422].includes(answer.status);
    const faults = [...faultsOf(this.ground, shot, answer), ...(answer.status < 300 || mayLack ? [] : [`the status ${answer.status}`])];
    return { answer, faults: faults.map((fault) => `${place}: ${fault}`) };
  }
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn += 1) await new Promise((resolve) => void setImmediate(resolve));
}
