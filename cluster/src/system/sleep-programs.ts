/**
 * The programs of the operating systems that tell of a machine's sleep. Each prints a line before it and one after it;
 * none needs rights that a user's own processes do not have.
 *
 * Linux was tried; the other two are written from Apple's and Microsoft's documentation. Where they do not work the node's
 * silence tells, and the gap between its clocks when it wakes.
 */
export interface SleepProgram {
  readonly name: string;
  readonly argv: readonly [string, ...string[]];
  /** What a printed line says, if anything. */
  read(line: string): "sleep" | "wake" | undefined;
  /** Holds the sleep back while its stdin is open, for as long as the system allows; taken anew after each waking. */
  readonly hold?: readonly [string, ...string[]];
}

/** systemd-logind's signal. `gdbus monitor` subscribes to it as any application does, while `busctl monitor` wants root. */
const LINUX: SleepProgram = {
  name: "gdbus (libglib2.0-bin, glib2)",
  argv: whileRead("gdbus monitor --system --dest org.freedesktop.login1 --object-path /org/freedesktop/login1"),
  read(line) {
    const [, sleeps] = /\.PrepareForSleep \((true|false),\)/.exec(line) ?? [];
    return sleeps === undefined ? undefined : sleeps === "true" ? "sleep" : "wake";
  },
  // At most InhibitDelayMaxSec, 5 s unless logind.conf says otherwise.
  hold: ["systemd-inhibit", "--what=sleep", "--mode=delay", "--who=OpenClaw Cluster", "--why=Running tasks go to other machines", "cat"],
};

/** How long the handler keeps macOS from sleeping; it may take up to 30 s (Apple's QA1340). */
const MAC_HOLD_S = 5;

/** JavaScript for Automation, which every macOS has. */
const MAC_SCRIPT = `
ObjC.import("AppKit");
const say = (word) => $.NSFileHandle.fileHandleWithStandardOutput.writeData($(word + "\\n").dataUsingEncoding($.NSUTF8StringEncoding));
ObjC.registerSubclass({
  name: "OpenClawClusterSleep",
  methods: {
    "sleeps:": { types: ["void", ["id"]], implementation: () => { say("sleep"); $.NSThread.sleepForTimeInterval(${MAC_HOLD_S}); } },
    "wakes:": { types: ["void", ["id"]], implementation: () => say("wake") },
  },
});
const observer = $.OpenClawClusterSleep.alloc.init;
const center = $.NSWorkspace.sharedWorkspace.notificationCenter;
center.addObserverSelectorNameObject(observer, "sleeps:", $.NSWorkspaceWillSleepNotification, $());
center.addObserverSelectorNameObject(observer, "wakes:", $.NSWorkspaceDidWakeNotification, $());
$.NSRunLoop.currentRunLoop.run;
`;

const MAC: SleepProgram = { name: "osascript", argv: whileRead('osascript -l JavaScript -e "$1"', MAC_SCRIPT), read: plainly };

/**
 * Win32_PowerManagementEvent: 4 is the sleep, which Windows holds back for about 2 s; 7 and 18 are the waking. Between two
 * events it looks whether the daemon still lives.
 */
const windowsScript = (daemon: number): string => `
$events = New-Object System.Management.ManagementEventWatcher 'SELECT * FROM Win32_PowerManagementEvent'
$events.Options.Timeout = [TimeSpan]::FromSeconds(20)
while (Get-Process -Id ${daemon} -ErrorAction SilentlyContinue) {
  try { $type = $events.WaitForNextEvent().EventType } catch [System.Management.ManagementException] { continue }
  if ($type -eq 4) { [Console]::Out.WriteLine('sleep') } elseif ($type -eq 7 -or $type -eq 18) { [Console]::Out.WriteLine('wake') }
}
`;

const windows = (daemon: number): SleepProgram => ({
  name: "powershell.exe",
  argv: ["powershell.exe", "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", windowsScript(daemon)],
  read: plainly,
});

/** The program for this system; `daemon`: the process id whose end ends it. */
export function sleepProgram(platform: NodeJS.Platform, daemon: number): SleepProgram | undefined {
  switch (platform) {
    case "linux":
      return LINUX;
    case "darwin":
      return MAC;
    case "win32":
      return windows(daemon);
    default:
      return undefined;
  }
}

function plainly(line: string): "sleep" | "wake" | undefined {
  return line === "sleep" || line === "wake" ? line : undefined;
}

/**
 * Runs a shell's command until the shell's stdin ends, which the kernel sees to however the daemon dies. Only the command
 * keeps stdout open, so that its own end is seen as well.
 */
function whileRead(command: string, ...args: string[]): readonly [string, ...string[]] {
  return ["/bin/sh", "-c", `${command} </dev/null & program=$!; exec >&-; cat >/dev/null; kill $program`, "sh", ...args];
}
