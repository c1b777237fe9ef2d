/**
 * A shape is everything about a task that decides where it can run and how nodes are compared for it. Tasks of one
 * shape share a line in the queue and one answer of the filter for each node, as Nomad shares its own by "computed
 * class". Keys that differ from task to task (sticky, spread, user) are not part of it.
 *
 * S1. Two specs have the same shape only if every check of filter.ts answers the same for both.
 * S2. A spec without `require` and wished-for labels is found without building a string from it.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { Strategy, type Prefer, type Require, type TaskKind, type TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { kindIndex } from "./history.ts";
import { mayLead } from "./window.ts";

export interface Shape {
  /** Small and dense, to index arrays by; reused after `forget`. */
  readonly index: number;
  readonly kind: TaskKind;
  readonly kindIndex: number;
  readonly strategy: Strategy;
  readonly slots: number;
  readonly memoryMiB: number;
  readonly mayLead: boolean;
  readonly require: Require;
  readonly nodes: readonly NodeId[] | undefined;
  /** Those of `require` and those that the input names. */
  readonly skills: readonly string[];
  readonly models: readonly string[];
  readonly agent: string | undefined;
  /** argv[0] of a command. */
  readonly program: string | undefined;
  readonly wishes: NonNullable<Prefer["labels"]>;
}

/** Shapes that nothing waits for are forgotten beyond this many. */
export const SHAPES_KEPT = 1_000;
/** The index of a shape that was described but not kept. */
const LOOSE = -1;
const STRATEGIES = Strategy.options;

export class Shapes {
  private readonly strategy: Strategy;
  private readonly plain: (Map<string, Shape> | undefined)[] = [];
  private readonly special = new Map<string, Shape>();
  private readonly spare: number[] = [];
  private count = 0;
  private limit = SHAPES_KEPT;

  /** `strategy`: of the tasks that name none. */
  constructor(strategy: Strategy) {
    this.strategy = strategy;
  }

  get size(): number {
    return this.count;
  }

  get full(): boolean {
    return this.count >= this.limit;
  }

  of(spec: TaskSpec): Shape {
    const [family, name] = this.place(spec);
    let shape = family.get(name);
    if (shape === undefined) {
      shape = this.describe(spec, this.spare.pop() ?? this.count);
      this.count++;
      family.set(name, shape);
    }
    return shape;
  }

  /** The shape if there is one, without keeping a new one. */
  find(spec: TaskSpec): Shape | undefined {
    const [family, name] = this.place(spec);
    return family.get(name);
  }

  /** For a plan: not kept. */
  describe(spec: TaskSpec, index = LOOSE): Shape {
    const { require = {}, prefer } = spec;
    const agent = spec.kind === "agent" ? spec.input : undefined;
    return {
      index,
      kind: spec.kind,
      kindIndex: kindIndex(spec.kind),
      strategy: spec.strategy ?? this.strategy,
      slots: require.slots ?? 1,
      memoryMiB: require.memoryMiB ?? 0,
      mayLead: mayLead(spec),
      require,
      nodes: require.nodes,
      skills: union(require.skills, agent?.skill),
      models: union(require.models, agent?.model),
      agent: spec.kind === "agent" || spec.kind === "tool" ? spec.input.agent : undefined,
      program: spec.kind === "command" ? spec.input.argv[0] : undefined,
      wishes: prefer?.labels ?? [],
    };
  }

  /** Forgets every shape that `isIdle`, and gives them back. Costs little per task: the next time is twice as far off as what stays. */
  forget(isIdle: (shape: Shape) => boolean): Shape[] {
    const gone: Shape[] = [];
    for (const family of [this.special, ...this.plain]) {
      for (const [name, shape] of family ?? []) {
        if (!isIdle(shape)) continue;
        family?.delete(name);
        this.spare.push(shape.index);
        gone.push(shape);
      }
    }
    this.count -= gone.length;
    this.limit = Math.max(SHAPES_KEPT, 2 * this.count);
    return gone;
  }

  private place(spec: TaskSpec): [family: Map<string, Shape>, name: string] {
    const code = codeOf(spec, spec.strategy ?? this.strategy);
    if (spec.require === undefined && spec.prefer?.labels === undefined) return [(this.plain[code] ??= new Map()), inputName(spec)];
    return [this.special, JSON.stringify([code, inputName(spec), spec.require, spec.prefer?.labels])];
  }
}

function codeOf(spec: TaskSpec, strategy: Strategy): number {
  return (STRATEGIES.indexOf(strategy) * 4 + kindIndex(spec.kind)) * 2 + (mayLead(spec) ? 1 : 0);
}

/** A longer command counts as its beginning: a shape's name stays small. */
const COMMAND_CHARS_MAX = 512;

/**
 * What the input says that a filter asks for, or that a node's policy may refuse: a penalty holds for a shape, and a node
 * that forbids `git push` must not be passed over for `git status`.
 */
function inputName(spec: TaskSpec): string {
  switch (spec.kind) {
    case "echo":
      return "";
    case "command":
      return spec.input.argv.join("\0").slice(0, COMMAND_CHARS_MAX);
    case "tool":
      return `${spec.input.agent ?? ""}\0${spec.input.tool}`;
    case "agent": {
      const { agent, skill, model } = spec.input;
      return agent === undefined && skill === undefined && model === undefined ? "" : JSON.stringify([agent, skill, model]);
    }
  }
}

function union(names: readonly string[] = [], one: string | undefined): readonly string[] {
  return one === undefined || names.includes(one) ? names : [...names, one];
}
