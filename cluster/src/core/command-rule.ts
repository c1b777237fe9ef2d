/**
 * One line of a policy about commands: a program, then a pattern for each argument. `git log -n *` allows one more
 * argument, `git log **` any number of them, `**` alone every program. A rule can also be a list of words, for
 * arguments with blanks in them.
 *
 * C1. The program is a bare name, looked up on the node's PATH, or an absolute path; it never holds a star.
 * C2. An interpreter's options are never covered by a star: `python3 **` allows scripts, `python3 -c *` must be
 *     written as such; else each rule for an interpreter would allow any code. The same goes for the program that
 *     `env` or `sudo` is to run, and for code on stdin, which needs a written `-` or `-s`.
 * C3. A deny rule is a prefix and goes by the program's last name: `rm` denies `/bin/rm -rf x`.
 */
import { z } from "zod";

const Word = z.string().min(1).max(4_096);
export const CommandRule = z
  .union([Word.transform((line) => line.trim().split(/\s+/)), z.array(Word).min(1).max(256)], "a rule is a line, or a list of words")
  .refine(
    ([program = "", ...args]) => (program === "**" ? args.length === 0 : isProgram(program)),
    "a rule begins with a program's name or absolute path, or is ** alone",
  )
  .refine((words) => !words.slice(0, -1).includes("**"), "** stands only at the end of a rule");
/** The rule's words. */
export type CommandRule = z.infer<typeof CommandRule>;

export interface Command {
  readonly argv: readonly string[];
  readonly stdin: boolean;
  /** The program's file as it was found, and with links followed; absent until it was looked up. */
  readonly files?: readonly string[];
}

export function ruleAllows(rule: CommandRule, command: Command): boolean {
  const [program = "", ...patterns] = rule;
  const [name = "", ...args] = command.argv;
  if (!isProgram(name)) return false;
  if (program === "**") return !runsGivenCode(command, () => false);
  if (program !== name && !meansFile(program, command)) return false;
  return argumentsFit(patterns, args) && !runsGivenCode(command, (index) => isLiteral(patterns[index]));
}

/** Before it was looked up, a bare name may turn out to be any file of that name; the node asks again afterwards. */
function meansFile(program: string, { argv: [name = ""], files }: Command): boolean {
  return files === undefined ? !isAbsolute(name) && lastName(program) === name : files.includes(program);
}

export function ruleDenies(rule: CommandRule, command: Command): boolean {
  const [program = "", ...patterns] = rule;
  const [name = "", ...args] = command.argv;
  if (program === "**") return true;
  const names = [name, ...(command.files ?? [])];
  return (
    names.some((one) => one === program || lastName(one) === program) &&
    argumentsFit(patterns.at(-1) === "**" ? patterns : [...patterns, "**"], args)
  );
}

/** The program that a rule allows; undefined when it allows all. */
export function programOf(rule: CommandRule): string | undefined {
  return rule[0] === "**" ? undefined : rule[0];
}

/** `*` stands for any characters, also none. Two pointers and one way back: no pattern makes it slow. */
export function matches(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    if (p < pattern.length && pattern[p] === "*") {
      star = p++;
      resume = t;
    } else if (p < pattern.length && pattern[p] === text[t]) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++resume;
    } else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}

function argumentsFit(patterns: readonly string[], args: readonly string[]): boolean {
  const open = patterns.at(-1) === "**";
  const fixed = open ? patterns.slice(0, -1) : patterns;
  if (open ? args.length < fixed.length : args.length !== fixed.length) return false;
  return fixed.every((pattern, index) => matches(pattern, args[index] as string));
}

/** Programs that run a file or a text; and those that run the program which an argument names. Without version: python3.12 is python. */
const INTERPRETERS = new Set(
  "sh bash dash ash zsh ksh fish csh tcsh python pypy perl ruby node nodejs deno bun php lua luajit tclsh osascript powershell pwsh cmd wscript cscript".split(
    " ",
  ),
);
const CARRIERS = new Set(
  "busybox env xargs find sudo doas su nice nohup timeout setsid stdbuf npx watch ssh script awk gawk mawk".split(" "),
);

/** C2: is there an option, a carried program, or code on stdin, that no literal word of the rule covers? */
function runsGivenCode(command: Command, literal: (index: number) => boolean): boolean {
  const [name = "", ...args] = command.argv;
  const names = [name, ...(command.files ?? [])].map(plainName);
  // By its own name only: where busybox is everything, every program would carry one.
  const carries = CARRIERS.has(names[0] as string);
  if (!carries && !names.some((one) => INTERPRETERS.has(one))) return false;
  const isOption = (arg: string): boolean =>
    arg.startsWith("-") || arg.startsWith("+") || (arg.startsWith("/") && names.some((one) => /^(cmd|powershell|pwsh)$/.test(one)));
  if (args.some((arg, index) => isOption(arg) && !literal(index))) return true;
  const operand = args.findIndex((arg) => !isOption(arg));
  if (carries && operand >= 0 && !literal(operand)) return true;
  return command.stdin && operand < 0 && !args.includes("-") && !args.includes("-s");
}

function plainName(program: string): string {
  return lastName(program)
    .toLowerCase()
    .replace(/\.exe$/, "")
    .replace(/[-.0-9]+$/, "");
}

function lastName(program: string): string {
  return program.slice(Math.max(program.lastIndexOf("/"), program.lastIndexOf("\\")) + 1);
}

const isLiteral = (pattern: string | undefined): boolean => pattern !== undefined && !pattern.includes("*");

/** A path that is not absolute would depend on a folder that the task chooses. */
function isProgram(name: string): boolean {
  if (name.includes("*") || name === "." || name === "..") return false;
  return isAbsolute(name) || !/[/\\]/.test(name);
}

export function isAbsolute(path: string): boolean {
  return path.startsWith("/") || /^[A-Za-z]:[\\/]/.test(path);
}
