/**
 * Stands in for the service managers' programs: systemctl and loginctl, launchctl, schtasks, on a PATH of their own. They keep
 * what a manager would know in files, so that a test can look at it and change it, and write down how they were called.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

export interface ServiceManagers {
  /** A folder for homes and units, which goes too. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  /** Without what only asks. */
  orders(): string[];
  /** One of a manager's facts: `active`, `enabled`, `sub`, `code`, `linger`, `dead` (its words), `loaded`, `tasks`; absent without a text. */
  set(fact: string, text?: string): void;
  has(fact: string): boolean;
  remove(): void;
}

const SYSTEMCTL = `
[ "$1" = --user ] && shift
[ -f "$F/dead" ] && { cat "$F/dead" >&2; exit 1; }
case "$1 $2" in
  "show --property=Version") echo "Version=252 (252.38-1~deb12u1)" ;;
  "show "*) printf 'LoadState=loaded\\nActiveState=%s\\nSubState=%s\\nUnitFileState=%s\\nMainPID=4242\\nExecMainStatus=%s\\n' \\
    "$(known active inactive)" "$(known sub dead)" "$(known enabled)" "$(known code 0)" ;;
  "daemon-reload "*) ;;
  "enable "*) printf enabled >"$F/enabled" ;;
  "restart "*) printf active >"$F/active" ;;
  "disable --now") rm -f "$F/enabled" "$F/active" ;;
  "reset-failed "*) echo "Failed to reset failed state of unit: Unit not loaded." >&2; exit 1 ;;
  *) echo "Unknown command verb $1." >&2; exit 1 ;;
esac`;

const LOGINCTL = `echo "Linger=$(known linger no)"`;

/** "Could not find service" is what the real one says on stderr, with exit code 113; what it prints of one it knows is longer. */
const LAUNCHCTL = `
case "$1" in
  print) [ -f "$F/loaded" ] || { echo 'Could not find service in domain for user gui: 501' >&2; exit 113; }
    printf '%s = {\\n\\tactive count = 1\\n\\tpath = /x.plist\\n\\tstate = %s\\n\\n\\tprogram = /n\\n\\tpid = 4242\\n\\tlast exit code = %s\\n}\\n' \\
      "$2" "$(known active running)" "$(known code '(never exited)')"
    # The daemon takes its time to end.
    if [ -f "$F/leaving" ]; then rm -f "$F/leaving" "$F/loaded"; fi ;;
  enable) ;;
  bootstrap) [ -f "$F/dead" ] && { cat "$F/dead" >&2; exit 5; }
    [ -f "$F/loaded" ] && { echo "Bootstrap failed: 5: Input/output error" >&2; exit 5; }
    : >"$F/loaded" ;;
  bootout) : >"$F/leaving" ;;
  *) exit 64 ;;
esac`;

const SCHTASKS = `
case "$1" in
  /Query) grep -qxF "$3" "$F/tasks" 2>/dev/null || { echo "ERROR: The system cannot find the file specified." >&2; exit 1; } ;;
  /Create) [ -f "$F/dead" ] && { cat "$F/dead" >&2; exit 1; }
    cp "$5" "$F/xml"; echo "$3" >>"$F/tasks" ;;
  /Run) ;;
  /End) echo "ERROR: The task is not running." >&2; exit 1 ;;
  /Delete) rm -f "$F/tasks" ;;
  *) exit 1 ;;
esac`;

const ASKS = /^(systemctl (--user )?show|loginctl|launchctl print|schtasks \/Query)/;

export function serviceManagers(): ServiceManagers {
  const folder = mkdtempSync(path.join(tmpdir(), "ocx-service-"));
  const bin = path.join(folder, "bin");
  const facts = path.join(folder, "facts");
  const calls = path.join(folder, "calls");
  for (const made of [bin, facts]) mkdirSync(made);
  writeFileSync(calls, "");
  const programs = { systemctl: SYSTEMCTL, loginctl: LOGINCTL, launchctl: LAUNCHCTL, schtasks: SCHTASKS };
  for (const [name, script] of Object.entries(programs)) {
    const file = path.join(bin, name);
    const head = `#!/bin/sh\nF='${facts}'\necho "${name} $*" >>'${calls}'\nknown() { cat "$F/$1" 2>/dev/null || printf '%s' "$2"; }\n`;
    writeFileSync(file, `${head}${script}\n`);
    chmodSync(file, 0o755);
  }
  return {
    folder,
    env: { PATH: `${bin}:${process.env["PATH"]}` },
    orders: () =>
      readFileSync(calls, "utf8")
        .split("\n")
        .filter((line) => line !== "" && !ASKS.test(line)),
    set(fact, text) {
      if (text === undefined) rmSync(path.join(facts, fact), { force: true });
      else writeFileSync(path.join(facts, fact), text);
    },
    has: (fact) => existsSync(path.join(facts, fact)),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
