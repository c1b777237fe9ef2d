/**
 * The environment of a program that the daemon runs for itself: where things lie, and what the system's own libraries ask
 * for. A list of names, so that a token in the daemon's environment, whatever its variable is called, goes no further. (A
 * task's command has a shorter one: executors/command.ts.)
 */
import type { Environment } from "./folders.ts";

const NAMES: ReadonlySet<string> = new Set([
  ...["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"],
  // Go's switches, for nats-server.
  ...["GOMAXPROCS", "GOMEMLIMIT", "GOGC", "GODEBUG"],
  ...["SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP", "USERPROFILE", "USERNAME", "APPDATA", "LOCALAPPDATA"],
  ...["PROGRAMDATA", "PROGRAMFILES", "PSMODULEPATH", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE"],
]);
const FAMILIES = /^(LC|DBUS|XDG)_/;

export function programEnvironment(env: Environment): Record<string, string> {
  const passed = Object.entries(env).filter(([name]) => NAMES.has(name.toUpperCase()) || FAMILIES.test(name));
  return Object.fromEntries(passed.filter((entry): entry is [string, string] => entry[1] !== undefined));
}
