/**
 * Which variables a task may set for its command: names, with `*` for any characters.
 *
 * V1. A variable that makes a program load other code, or take another program for the one that was judged, is never
 *     meant by a star: who wants it writes its whole name. Else `*`, which means "my programs' settings", would undo every
 *     rule about commands, and the sandbox, whose own program would load that code outside of it.
 */
import { matches } from "./command-rule.ts";

/**
 * Those that sudo takes from an environment that it does not trust (`initial_badenv_table` in its env.c), those of the GNU C
 * library's secure mode (ld.so(8)), and their like of programs that came later. By upper case: Windows does not tell them apart.
 */
const LOADS_CODE = [
  "PATH PATHEXT COMSPEC IFS ENV BASH_ENV KSH_ENV ZDOTDIR FPATH CDPATH SHELL SHELLOPTS BASHOPTS PS4 PROMPT_COMMAND",
  "LD_* DYLD_* LDR_* _RLD* LIBPATH SHLIB_PATH GCONV_PATH LOCPATH NLSPATH GETCONF_DIR MALLOC_* GLIBC_TUNABLES",
  "LOCALDOMAIN RES_OPTIONS HOSTALIASES RESOLV_* TERMINFO TERMINFO_DIRS TERMCAP",
  "NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS PYTHON* PERL* RUBYLIB RUBYOPT LUA_* JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS _JAVA_OPTIONS CLASSPATH",
  "GIT_* EDITOR VISUAL PAGER BROWSER LESSOPEN LESSCLOSE",
].flatMap((line) => line.split(" "));

/** The pattern that allows it, or why none does. */
export function allowsVariable(patterns: readonly string[], name: string): { readonly pattern: string } | { readonly reason: string } {
  const mustBeNamed = LOADS_CODE.some((one) => matches(one, name.toUpperCase()));
  const pattern = patterns.find((one) => (mustBeNamed ? one === name : matches(one, name)));
  if (pattern !== undefined) return { pattern };
  const why = mustBeNamed ? ", which decides what code a program runs; allow.env must name it without a star" : "";
  return { reason: `a task may not set the variable ${name}${why}` };
}
