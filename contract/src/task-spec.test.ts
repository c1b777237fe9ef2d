import { describe, expect, it } from "vitest";
import { LIMITS } from "./limits.ts";
import { Labels, priorityNumber, TaskSpec } from "./task-spec.ts";

const command = { kind: "command", input: { argv: ["uname", "-a"] } } as const;
const many = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, index) => make(index));

/** The paths of the fields that the schema complains about. */
function faults(spec: unknown): string[] {
  const parsed = TaskSpec.safeParse(spec);
  return parsed.success ? [] : parsed.error.issues.map(({ code, path }) => `${code} ${path.join(".")}`);
}

describe("TaskSpec", () => {
  it.each([
    ["an echo of anything", { kind: "echo", input: { value: [1, null, { deep: "值" }] } }],
    ["an empty echo", { kind: "echo", input: {} }],
    ["a command", command],
    ["an agent's turn", { kind: "agent", input: { message: "你好", agent: "main", session: "agent:main:x", model: "provider/model-1" } }],
    ["a tool", { kind: "tool", input: { tool: "browser.open", args: { url: "https://example.com" } } }],
    [
      "every common field",
      {
        ...command,
        name: "report",
        labels: { room: "office" },
        user: "ada",
        require: {
          os: ["linux"],
          arch: ["arm64"],
          labels: { gpu: "yes" },
          skills: ["pdf"],
          models: ["m"],
          nodes: ["nas2"],
          memoryMiB: 0,
          slots: 1,
        },
        prefer: { labels: [{ name: "fast", value: "yes", weight: -100 }], sticky: "s", spread: "s" },
        strategy: "best_fit",
        priority: "critical",
        fairnessKey: "team",
        runAt: 0,
        deadline: 1,
        timeouts: { queueMs: 1, startMs: 1, runMs: 1, idleMs: 1 },
        retry: { max: 0, backoffMs: 0 },
        onLost: "ask",
        dedupeKey: "k",
      },
    ],
  ])("takes %s", (_what, spec) => {
    expect(faults(spec)).toEqual([]);
    expect(TaskSpec.parse(spec)).toEqual(spec);
  });

  it.each([
    ["an unknown kind", { kind: "shell", input: {} }, "invalid_union kind"],
    ["no kind", { input: {} }, "invalid_union kind"],
    ["a misspelt field", { ...command, prority: 3 }, "unrecognized_keys "],
    ["a field that the cluster owns", { ...command, state: "succeeded" }, "unrecognized_keys "],
    ["a misspelt requirement", { ...command, require: { skill: ["pdf"] } }, "unrecognized_keys require"],
    ["another kind's input", { kind: "agent", input: { argv: ["ls"] } }, "invalid_type input.message", "unrecognized_keys input"],
    ["a command as a shell string", { kind: "command", input: { argv: "rm -rf /" } }, "invalid_type input.argv"],
    ["a command without a program", { kind: "command", input: { argv: [] } }, "too_small input.argv"],
    ["a name that no environment can hold", { kind: "command", input: { argv: ["ls"], env: { "A=B": "x" } } }, "invalid_key input.env.A=B"],
    ["a node's id with a wildcard", { ...command, require: { nodes: ["*"] } }, "invalid_format require.nodes.0"],
    ["1,000 skills", { ...command, require: { skills: many(1_000, (n) => `skill-${n}`) } }, "too_big require.skills"],
    ["an agent's name with a slash", { kind: "agent", input: { message: "x", agent: "../main" } }, "invalid_format input.agent"],
    ["a value that JSON has no word for", { kind: "echo", input: { value: () => 1 } }, "custom input.value"],
    ["half a slot", { ...command, require: { slots: 0.5 } }, "invalid_type require.slots"],
    ["a priority of ten", { ...command, priority: 10 }, "too_big priority"],
    ["endless retries", { ...command, retry: { max: Infinity } }, "invalid_type retry.max"],
    [
      "more output than anybody keeps",
      { kind: "command", input: { argv: ["yes"], outputBytesMax: LIMITS.outputBytesCeiling + 1 } },
      "too_big input.outputBytesMax",
    ],
  ])("refuses %s", (_what, spec, ...expected) => {
    expect(faults(spec)).toEqual(expected);
  });

  it.each([undefined, null, "echo", 1, []])("refuses %j", (spec) => {
    expect(faults(spec)).not.toEqual([]);
  });
});

describe("Labels", () => {
  it(`are at most ${LIMITS.labelsMax}`, () => {
    const labels = (count: number): object => Object.fromEntries(many(count, (n) => [`l${n}`, "x"]));
    expect(Labels.safeParse(labels(LIMITS.labelsMax)).success).toBe(true);
    expect(Labels.safeParse(labels(LIMITS.labelsMax + 1)).success).toBe(false);
  });
});

describe("priorityNumber", () => {
  it.each([
    ["critical", 9],
    ["high", 7],
    ["normal", 4],
    ["low", 2],
    [undefined, 4],
    [0, 0],
    [9, 9],
  ] as const)("%s is %d", (priority, number) => {
    expect(priorityNumber(priority)).toBe(number);
  });
});
