/**
 * Does a command run code, or a program, that its task has given it and no literal word of the policy's rule covers?
 * The programs that do nothing but run others are known. What else can be talked into it (build tools, package managers,
 * the shells of databases) is no list that ends: docs/cli.md says what a star cannot guard.
 *
 * G1. What an interpreter runs is a file of the machine: never an option's text, nor a file that the task itself fills.
 * G2. stdin is code for an interpreter, unless the rule has `-` or `-s`, or its first word is literally the script; and for
 *     whoever runs another program, if it has none.
 * G3. Where plain words are code (`powershell …`, `ssh host …`, awk's first), they are literal.
 * G4. Whoever runs another program has its name literally, and that one is judged as if it stood alone.
 */

export interface Command {
  readonly argv: readonly string[];
  readonly stdin: boolean;
  /** The program's file as it was found, and with links followed; absent until it was looked up. */
  readonly files?: readonly string[];
}

/** Does a literal word of the rule stand for the argument at this place? */
type Literal = (index: number) => boolean;

const words = (...lines: string[]): ReadonlySet<string> => new Set(lines.flatMap((line) => line.split(" ")));

/** Here, as below, without version: python3.12 is python. */
const INTERPRETERS = words(
  "sh bash dash ash zsh ksh mksh fish csh tcsh nu elvish xonsh cmd powershell pwsh wscript cscript osascript",
  "python pypy ipython perl raku ruby irb node nodejs tsx ts-node deno bun php lua luajit tclsh wish expect rscript julia octave",
  "guile racket sbcl java jshell groovy scala kotlin erl escript elixir iex ghci runghc ocaml dotnet make gmake nmake",
  "gdb lldb vi vim nvim ex emacs",
);
/** Their options name programs; their other words are files and the like. */
const OPTIONS_RUN = words("find tar bsdtar gtar rsync scp sftp zip man less more");
const FIRST_IS_CODE = words("awk gawk mawk nawk sed gsed deno bun");
/** All of their words become one text, which is run. */
const ALL_IS_CODE = words("cmd powershell pwsh ssh watch parallel tmux");
/** Their first word may be options without a dash. */
const BARE_OPTIONS = words("tar bsdtar gtar");
/** A variable among their words can be the name of a program. */
const TAKE_VARIABLES = words("make gmake nmake");
/** A script of theirs can lie anywhere in the world. */
const TAKE_ADDRESSES = words("deno bun");
/** How many words of another meaning stand before the program. */
const CARRIERS: ReadonlyMap<string, number> = new Map([
  ...carriers(
    0,
    "busybox toybox env xargs sudo doas runuser pkexec nice ionice nohup setsid stdbuf script time unbuffer",
    "npx pnpx bunx uvx strace ltrace unshare nsenter systemd-run xvfb-run dbus-run-session watch parallel tmux",
  ),
  ...carriers(1, "su ssh timeout chroot taskset chrt flock"),
]);
/** One file that is every program carries others under its own name only. */
const MANY_IN_ONE = words("busybox toybox");
const GIT = words("git");
/** Of git: each long option may be cut short. */
const GIT_LONG = "--config --config-env --exec-path --exec --upload-pack --receive-pack --extcmd --open-files-in-pager --template".split(
  " ",
);
const GIT_SHORT: ReadonlyMap<string, RegExp> = new Map([
  ["rebase", /^-[A-Za-z]*x/],
  ["difftool", /^-[A-Za-z]*x/],
  ["grep", /^-[A-Za-z]*O/],
  ["clone", /^-[A-Za-z]*[uc]/],
]);
const GIT_WORDS = words("bisect submodule difftool mergetool filter-branch config send-email instaweb");
const CARRIED_MAX = 8;

export function runsGivenCode(command: Command, literal: Literal, carried = 0): boolean {
  const [name = "", ...args] = command.argv;
  const own = plainName(name);
  const names = [own, ...(command.files ?? []).map(plainName)];
  const isOne = (of: { has(one: string): boolean }): boolean => names.some((one) => of.has(one) && (one === own || !MANY_IN_ONE.has(one)));
  const slash = names.some((one) => /^(cmd|powershell|pwsh)$/.test(one));
  const isOption = (arg: string): boolean => /^[-+]/.test(arg) || (slash && arg.startsWith("/"));
  const given = args.filter((_arg, index) => !literal(index));

  if (isOne(GIT) && args.some((arg, index) => !literal(index) && isRunByGit(arg, args, index))) return true;
  const [interprets, carries] = [isOne(INTERPRETERS), isOne(CARRIERS)];
  if (!interprets && !carries && ![OPTIONS_RUN, FIRST_IS_CODE, ALL_IS_CODE].some(isOne)) return false;
  if (given.some(isOption)) return true;
  const first = args.findIndex((arg) => !isOption(arg));
  if (isOne(FIRST_IS_CODE) && first >= 0 && !literal(first)) return true;
  if (isOne(BARE_OPTIONS) && args.length > 0 && !literal(0)) return true;
  if (isOne(ALL_IS_CODE) && args.some((_arg, index) => !literal(index) && !isMeant(args, index, literal))) return true;
  if (isOne(TAKE_VARIABLES) && given.some((arg) => arg.includes("="))) return true;
  if (isOne(TAKE_ADDRESSES) && given.some((arg) => /^[a-z][a-z0-9+.-]+:/i.test(arg))) return true;
  if (carries) {
    const program = programCarried(args, { names, isOption, literal });
    if (program === "given" || carried === CARRIED_MAX) return true;
    // A shell is what many of them run then.
    if (program === undefined) return command.stdin;
    const rest = { argv: args.slice(program), stdin: command.stdin };
    return runsGivenCode(rest, (index) => literal(program + 1 + index), carried + 1);
  }
  if (!interprets) return false;
  if (given.some(isFilledByTask)) return true;
  const isScript = first === 0 && literal(0) && ![FIRST_IS_CODE, ALL_IS_CODE].some(isOne);
  return command.stdin && !isScript && !args.includes("-") && !args.includes("-s");
}

function carriers(before: number, ...lines: string[]): (readonly [string, number])[] {
  return [...words(...lines)].map((name) => [name, before]);
}

/** The rule says itself that any code, or any argument of a file that it names, may follow here. */
function isMeant(args: readonly string[], index: number, literal: Literal): boolean {
  return args.slice(0, index).some((arg, at) => {
    if (!literal(at)) return false;
    if (/^[-/](c|k|command)$/i.test(arg)) return (arg !== "-c" || INTERPRETERS.has(plainName(args[at - 1] ?? "pwsh"))) && !literal(at + 1);
    return /^[-/]f(i(le?)?)?$/i.test(arg) && literal(at + 1);
  });
}

/** Its place; undefined where there is none. Any option may take a word, but `--`: which ones do is not known. */
function programCarried(
  args: readonly string[],
  {
    names,
    isOption,
    literal,
  }: { readonly names: readonly string[]; readonly isOption: (arg: string) => boolean; readonly literal: Literal },
): number | "given" | undefined {
  let before = Math.max(...names.map((name) => CARRIERS.get(name) ?? 0));
  for (const [index, arg] of args.entries()) {
    if (!literal(index)) return "given";
    const previous = args[index - 1] ?? "";
    const isValue = isOption(previous) && previous !== "--" && !previous.includes("=") && index + 1 < args.length;
    const isVariable = /^[A-Za-z_][A-Za-z0-9_]*=/.test(arg);
    if (isOption(arg) || isValue || isVariable) continue;
    if (before-- === 0) return index;
  }
  return undefined;
}

function isRunByGit(arg: string, args: readonly string[], index: number): boolean {
  const [long = ""] = arg.split("=");
  if (arg.startsWith("--")) return long.length > 2 && GIT_LONG.some((one) => one.startsWith(long));
  if (arg.startsWith("-"))
    return arg.startsWith("-c") || [...GIT_SHORT].some(([word, options]) => args.includes(word) && options.test(arg));
  // What git is to do, if nothing but options and their values stands before.
  return GIT_WORDS.has(arg) && args.slice(0, index).every((one, at) => one.startsWith("-") || args[at - 1]?.startsWith("-") === true);
}

/** What a task has in its hands under a file's name: stdin, its own arguments and variables. */
function isFilledByTask(arg: string): boolean {
  const parts = arg.split("/").filter((part) => part !== "" && part !== ".");
  if (/^(environ|cmdline)$/.test(parts.at(-1) ?? "")) return true;
  const roots = arg.startsWith("/") ? [0] : [];
  if (parts.includes("..")) roots.push(...parts.keys());
  return roots.some((at) => parts[at] === "proc" || (parts[at] === "dev" && /^(stdin|fd|tty)$/.test(parts[at + 1] ?? "")));
}

function plainName(program: string): string {
  return lastName(program)
    .toLowerCase()
    .replace(/\.exe$/, "")
    .replace(/[-.0-9]+$/, "");
}

export function lastName(program: string): string {
  return program.slice(Math.max(program.lastIndexOf("/"), program.lastIndexOf("\\")) + 1);
}
