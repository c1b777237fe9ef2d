/**
 * A shape is everything about a task that decides where it can run and how nodes are compared for it. Tasks of one
 * shape share a line in the queue and one answer of the filter for each node, as Nomad shares its own by "computed
 * class". Keys that differ from task to task (sticky, spread, user) are not part of it; who submitted it is, for a node's
 * policy may ask.
 *
 * S1. Two specs have the same shape only if every check of filter.ts answers the same for both.
 * S2. A spec without `require` and wished-for labels is found without building a string from it.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Submitter } from "@openclaw-cluster/contract/submitter";
import { Strategy, type Prefer, type Require, type TaskKind, type TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { machineSession } from "../session-rule.ts";
import { submitterOf, type TaskRecord } from "../task.ts";
import { wishOf, type ModelWish } from "../models/task-model.ts";
import { KIND_COUNT, kindIndex } from "./history.ts";
import { mayLead } from "./window.ts";

export interface Shape {
  /** Small and dense, to index arrays by; reused after `forget`. */
  readonly index: number;
  readonly kind: TaskKind;
  readonly kindIndex: number;
  readonly submitter: Submitter;
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
  readonly tool: string | undefined;
  /** One of the machine's own; those of users are on every node alike. */
  readonly session: string | undefined;
  /** argv[0] of a command. */
  readonly program: string | undefined;
  /** Of a task of kind `model`. */
  readonly wish: ModelWish | undefined;
  readonly wishes: NonNullable<Prefer["labels"]>;
}

/** What of a task decides about its shape. */
export type Shaped = Pick<TaskRecord, "spec" | "owner" | "token">;

/** The shapes of one submitter. */
interface Family {
  readonly plain: (Map<string, Shape> | undefined)[];
  readonly special: Map<string, Shape>;
}

/** Shapes that nothing waits for are forgotten beyond this many. */
export const SHAPES_KEPT = 1_000;
/** The index of a shape that was described but not kept. */
const LOOSE = -1;
const STRATEGIES = Strategy.options;

export class Shapes {
  private readonly strategy: Strategy;
  /** By the submitter's token, and the user for whom it speaks. */
  private readonly families = new Map<string, Map<string, Family>>();
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

  of(task: Shaped): Shape {
    const [shapes, name] = this.place(task);
    let shape = shapes.get(name);
    if (shape === undefined) {
      shape = this.describe(task, this.spare.pop() ?? this.count);
      this.count++;
      shapes.set(name, shape);
    }
    return shape;
  }

  /** The shape if there is one, without keeping a new one. */
  find(task: Shaped): Shape | undefined {
    const [shapes, name] = this.place(task);
    return shapes.get(name);
  }

  /** For a plan: not kept. */
  describe(task: Shaped, index = LOOSE): Shape {
    const { spec } = task;
    const { require = {}, prefer } = spec;
    const agent = spec.kind === "agent" ? spec.input : undefined;
    const openclaw = spec.kind === "agent" || spec.kind === "tool" ? spec.input : undefined;
    return {
      index,
      kind: spec.kind,
      kindIndex: kindIndex(spec.kind),
      submitter: submitterOf(task),
      strategy: spec.strategy ?? this.strategy,
      slots: require.slots ?? 1,
      memoryMiB: require.memoryMiB ?? 0,
      mayLead: mayLead(spec),
      require,
      nodes: require.nodes,
      skills: union(require.skills, agent?.skill),
      models: union(require.models, agent?.model),
      agent: openclaw?.agent,
      tool: spec.kind === "tool" ? spec.input.tool : undefined,
      session: machineSession(openclaw?.session),
      program: spec.kind === "command" ? spec.input.argv[0] : undefined,
      wish: spec.kind === "model" ? wishOf(spec.input) : undefined,
      wishes: prefer?.labels ?? [],
    };
  }

  /** Forgets every shape that `isIdle`, and gives them back. Costs little per task: the next time is twice as far off as what stays. */
  forget(isIdle: (shape: Shape) => boolean): Shape[] {
    const gone: Shape[] = [];
    for (const [token, families] of this.families) {
      for (const [owner, { special, plain }] of families) {
        const all = [special, ...plain].filter((shapes) => shapes !== undefined);
        for (const shapes of all) {
          for (const [name, shape] of shapes) {
            if (!isIdle(shape)) continue;
            shapes.delete(name);
            this.spare.push(shape.index);
            gone.push(shape);
          }
        }
        if (all.every((shapes) => shapes.size === 0)) families.delete(owner);
      }
      if (families.size === 0) this.families.delete(token);
    }
    this.count -= gone.length;
    this.limit = Math.max(SHAPES_KEPT, 2 * this.count);
    return gone;
  }

  private place(task: Shaped): [shapes: Map<string, Shape>, name: string] {
    const { spec } = task;
    const { plain, special } = this.familyOf(task);
    const code = codeOf(spec, spec.strategy ?? this.strategy);
    if (spec.require === undefined && spec.prefer?.labels === undefined) return [(plain[code] ??= new Map()), inputName(spec)];
    return [special, JSON.stringify([code, inputName(spec), spec.require, spec.prefer?.labels])];
  }

  private familyOf({ owner, token }: Shaped): Family {
    let families = this.families.get(token);
    if (families === undefined) this.families.set(token, (families = new Map<string, Family>()));
    let family = families.get(owner);
    if (family === undefined) families.set(owner, (family = { plain: [], special: new Map() }));
    return family;
  }
}

function codeOf(spec: TaskSpec, strategy: Strategy): number {
  return (STRATEGIES.indexOf(strategy) * KIND_COUNT + kindIndex(spec.kind)) * 2 + (mayLead(spec) ? 1 : 0);
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
    case "tool": {
      const { agent, tool, session } = spec.input;
      return session === undefined ? `${agent ?? ""}\0${tool}` : JSON.stringify([agent, tool, machineSession(session) ?? ""]);
    }
    case "agent": {
      const { agent, skill, model } = spec.input;
      const session = machineSession(spec.input.session);
      const isPlain = agent === undefined && skill === undefined && model === undefined && session === undefined;
      return isPlain ? "" : JSON.stringify([agent, skill, model, session]);
    }
    case "model": {
      const { name, needs } = wishOf(spec.input);
      return JSON.stringify([name, needs.path, needs.json, needs.contextTokens]);
    }
  }
}

function union(names: readonly string[] = [], one: string | undefined): readonly string[] {
  return one === undefined || names.includes(one) ? names : [...names, one];
}
