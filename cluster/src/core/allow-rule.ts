/**
 * One line of a policy that allows commands, with what is said of how they run: in a sandbox or not, with the network or
 * without, and which folders are there. Most rules say nothing of that and are the bare line.
 */
import { SandboxMode } from "@openclaw-cluster/contract/command-limits";
import { z } from "zod";
import { CommandRule, isAbsolute, programOf } from "./command-rule.ts";
import { lastName } from "./given-code.ts";

export const Folders = z.array(z.string().max(4_096).refine(isAbsolute, "a folder's path is absolute")).max(256).default([]);

const RuleWithSettings = z.strictObject({
  run: CommandRule,
  /** As the whole file has it, unless said. */
  sandbox: SandboxMode.optional(),
  /** In a sandbox the network is out of reach, loopback too, unless said. */
  network: z.boolean().default(false),
  /** What may be written in a sandbox, beside the attempt's own folder; in place of the working folder. */
  folders: Folders,
  /** What may be read in a sandbox although it lies where a sandbox shows nothing. */
  reads: Folders,
});

export const AllowRule = z.union([CommandRule, RuleWithSettings], {
  error: ({ input, errors }) => {
    // Of an object its own faults are worth more than the list of what it could have been.
    if (typeof input !== "object" || input === null || Array.isArray(input)) return "a rule is a line, or a list of words";
    const faults = errors?.at(-1)?.map(({ path, message }) => (path.length === 0 ? message : `${path.join(".")}: ${message}`)) ?? [];
    return faults.join("; ") || "a rule is a line, a list of words, or `run` with settings";
  },
});
export type AllowRule = z.infer<typeof AllowRule>;

/** How a command is to be shut in. */
export interface Box {
  readonly mode: SandboxMode;
  readonly network: boolean;
  readonly folders: readonly string[];
  readonly reads: readonly string[];
}

export function wordsOf(rule: AllowRule): CommandRule {
  return Array.isArray(rule) ? rule : rule.run;
}

/** As its owner would write it, on one line. */
export function wordsText(words: readonly string[]): string {
  return words.map((word) => (/\s/.test(word) ? JSON.stringify(word) : word)).join(" ");
}

/** The same, with what is said of how it runs. */
export function ruleText(rule: AllowRule): string {
  if (Array.isArray(rule)) return wordsText(rule);
  const { run, sandbox, network, folders, reads } = rule;
  const said = [
    ...(sandbox === undefined ? [] : [`sandbox ${sandbox}`]),
    ...(network ? ["network"] : []),
    ...(folders.length === 0 ? [] : [`writes ${folders.join(", ")}`]),
    ...(reads.length === 0 ? [] : [`reads ${reads.join(", ")}`]),
  ];
  return said.length === 0 ? wordsText(run) : `${wordsText(run)} (${said.join("; ")})`;
}

/** `mode`: of the whole file. */
export function boxOf(rule: AllowRule, mode: SandboxMode): Box {
  if (Array.isArray(rule)) return { mode, network: false, folders: [], reads: [] };
  const { sandbox = mode, network, folders, reads } = rule;
  return { mode: sandbox, network, folders, reads };
}

/** Programs that no rule lets run but in a sandbox; `**` stands for every program. For placement, so in doubt a program is not in it. */
export function sandboxedPrograms(rules: readonly AllowRule[], mode: SandboxMode): string[] {
  const shut = rules.filter((rule) => boxOf(rule, mode).mode === "required");
  const open = new Set(rules.filter((rule) => !shut.includes(rule)).map((rule) => programOf(wordsOf(rule))));
  if (open.has(undefined)) return [];
  if (open.size === 0) return shut.length === 0 ? [] : ["**"];
  const openNames = [...open].map((program) => lastName(program as string));
  const programs = shut.map((rule) => programOf(wordsOf(rule))).filter((program) => program !== undefined);
  // /opt/x and x can be one program: only the node knows its PATH.
  return [...new Set(programs)].filter((program) => !openNames.includes(lastName(program)));
}
