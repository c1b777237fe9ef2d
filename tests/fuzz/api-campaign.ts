/**
 * A campaign against every operation of the API: rounds in which each of them gets its share of requests, judged one by one, and at
 * the end the whole cluster is. What it finds it tells with the words that repeat it.
 */
import fc from "fast-check";
import { openApiGround, type ApiGround } from "./api-ground.ts";
import { tooMuch, type Budget } from "./budget.ts";
import { countingLog } from "./counting-log.ts";
import { heldMiB } from "./held-memory.ts";
import { faultsOf } from "./judge.ts";
import { KNOWN_BAD } from "./known-bad-requests.ts";
import { requestsFor, type Described, type Shot } from "./requests.ts";

export interface Plan {
  /** Counts rounds. */
  readonly budget: Budget;
  /** Requests of each operation in a round. */
  readonly shots: number;
  /** Only this operation, by its name. */
  readonly only?: string | undefined;
  /** Only this case of it, as fast-check names it. */
  readonly path?: string | undefined;
  readonly tell?: (line: string) => void;
}

export interface Campaign {
  readonly faults: readonly string[];
  /** By operation: how it was answered, and how often. */
  readonly answers: ReadonlyMap<string, ReadonlyMap<number, number>>;
  readonly shots: number;
  /** Events that the streams of requests brought, and those of the feeds, by type. */
  readonly events: number;
  readonly heard: readonly Readonly<Record<string, number>>[];
  readonly grownMiB: number;
}

/** The nodes, and the one address that everybody has. */
const PARTIES = 8;

export async function fuzzApi(plan: Plan): Promise<Campaign> {
  const { log, counted } = countingLog();
  const ground = await openApiGround(log);
  const startedAt = performance.now();
  try {
    const run = new Run(ground);
    for (const shot of KNOWN_BAD) run.note(`known bad: ${shot.method} ${shot.target.slice(0, 100)}`, await run.faultsOfShot(shot));
    const before = await heldMiB();
    for (let round = 0; plan.budget.goesOn(round) && run.faults.length === 0; round += 1) {
      for (const operation of ground.operations.filter(({ name }) => plan.only === undefined || plan.only === name)) {
        await ground.heal(operation.name);
        await run.fire(operation, plan.budget.seed + round, plan);
      }
      plan.tell?.(`round ${round + 1}: ${run.shots} requests`);
    }
    run.note("afterwards", await ground.broken());
    const grownMiB = (await heldMiB()) - before;
    const acts = run.granted + ground.mended();
    run.note("afterwards", tooMuch({ logged: counted, parties: PARTIES, passedMs: performance.now() - startedAt, grownMiB, acts }));
    const { faults, answers, shots, events } = run;
    return { faults, answers, shots, events, heard: ground.feeds.map(({ heard }) => heard), grownMiB };
  } finally {
    await ground.end();
  }
}

class Run {
  readonly faults: string[] = [];
  readonly answers = new Map<string, Map<number, number>>();
  shots = 0;
  granted = 0;
  events = 0;
  private readonly ground: ApiGround;
  private readonly requests: ReadonlyMap<string, fc.Arbitrary<Shot>>;

  constructor(ground: ApiGround) {
    this.ground = ground;
    for (const { name } of ground.operations) this.answers.set(name, new Map());
    this.requests = new Map(ground.operations.map((one) => [one.name, requestsFor(one, ground.definitions)]));
  }

  async fire(operation: Described, seed: number, { shots, path }: Plan): Promise<void> {
    const property = fc.asyncProperty(this.requests.get(operation.name) as fc.Arbitrary<Shot>, async (shot) => {
      const faults = await this.faultsOfShot(shot);
      if (faults.length > 0) throw new Error(faults.join("; "));
    });
    const found = await fc.check(property, { seed, numRuns: shots, ...(path !== undefined && { path }) });
    if (!found.failed) return;
    const [shot] = found.counterexample ?? [];
    const repeat = `npm run fuzz -- --seed ${seed} --only ${operation.name} --path ${found.counterexamplePath}`;
    this.note(repeat, [`${(found.errorInstance as Error | undefined)?.message} on ${shot === undefined ? "" : inWords(shot)}`]);
  }

  async faultsOfShot(shot: Shot): Promise<string[]> {
    this.shots += 1;
    try {
      const answer = await this.ground.shoot(shot);
      this.events += answer.stream?.events.length ?? 0;
      if (answer.status < 300) this.granted += 1;
      const counts = this.answers.get(shot.operation);
      counts?.set(answer.status, (counts.get(answer.status) ?? 0) + 1);
      const faults = faultsOf(this.ground, shot, answer);
      if (isPolluted()) faults.push("a prototype was changed");
      return faults.length === 0 ? [] : [...faults, answer.text.slice(0, 400)];
    } catch (error) {
      return [(error as Error).message];
    }
  }

  note(where: string, faults: readonly string[]): void {
    for (const fault of faults) this.faults.push(`${where}\n  ${fault}`);
  }
}

function isPolluted(): boolean {
  return Object.keys(Object.prototype).length > 0 || "polluted" in {} || Object.keys(Array.prototype).length > 0;
}

function inWords({ as, method, target, headers, body, unsigned }: Shot): string {
  const shown = body === undefined ? "" : ` ${JSON.stringify(body.subarray(0, 600).toString("utf8"))}`;
  const proven = unsigned === undefined ? "" : ` with a proof of ${JSON.stringify(unsigned).slice(0, 600)}`;
  return `${method} ${target.slice(0, 300)} as ${as} ${JSON.stringify(headers).slice(0, 300)}${shown}${proven}`;
}
