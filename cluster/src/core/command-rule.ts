/**
 * One line of a policy about commands: a program, then a pattern for each argument. `git log -n *` allows one more
 * argument, `git log **` any number of them, `**` alone every program. A rule can also be a list of words, for
 * arguments with blanks in them.
 *
 * C1. The program is a bare name, looked up on the node's PATH, or an absolute path; it never holds a star.
 * C2. An interpreter's options are never covered by a star: `python3 **` allows scripts, `python3 -c *` must be
 *     written as such; else each rule for an interpreter would allow any code. The same goes for the program that
 *     `env` or `sudo` is to run, and for code on stdin (given-code.ts).
 * C3. A deny rule is a prefix and goes by the program's last name: `rm` denies `/bin/rm -rf x`.
 * C4. Where a rule allows, a star never stands for a way up: `cat /var/log/*` allows nothing with `..` between slashes.
 */
import { z } from "zod";
import { lastName, runsGivenCode, type Command } from "./given-code.ts";

const Word = z.string().min(1).max(4_096);
export const CommandRule = z
  .union([Word.transform((line) => line.trim().split(/\s+/)), z.array(Word).min(1).max(256)], "a rule is a line, or a list of words")
  .refine(
    ([program = "", ...args]) => (program === "**" ? args.length === 0 : isProgram(program)),
    "a rule begins with a program's name or absolute path, or is ** alone",
  )
  .refine((words) => !words.slice(0, -1).includes("**"), "** stands only at the end of a rule");
/** Windows passes over what follows the two dots. */
const UPWARDS = /^\.\.[. ]*$/;
/** The rule's words. */
export type CommandRule = z.infer<typeof CommandRule>;

export function ruleAllows(rule: CommandRule, command: Command): boolean {
  const [program = "", ...patterns] = rule;
  const [name = "", ...args] = command.argv;
  if (!isProgram(name)) return false;
  if (program === "**") return !runsGivenCode(command, () => false);
  if (program !== name && !meansFile(program, command)) return false;
  return argumentsFit(patterns, args, staysBelow) && !runsGivenCode(command, (index) => isLiteral(patterns[index]));
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
    argumentsFit(patterns.at(-1) === "**" ? patterns : [...patterns, "**"], args, matches)
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

/** C4 */
function staysBelow(pattern: string, text: string): boolean {
  if (!matches(pattern, text)) return false;
  const star = pattern.indexOf("*");
  // Once as a whole, once without what comes before the star: `-C*` stands for `-C..` too.
  return star < 0 || ![text, text.slice(star)].some((one) => one.split(/[/\\]/).some((part) => UPWARDS.test(part)));
}

function argumentsFit(patterns: readonly string[], args: readonly string[], fits: typeof matches): boolean {
  const open = patterns.at(-1) === "**";
  const fixed = open ? patterns.slice(0, -1) : patterns;
  if (open ? args.length < fixed.length : args.length !== fixed.length) return false;
  return fixed.every((pattern, index) => fits(pattern, args[index] as string));
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
