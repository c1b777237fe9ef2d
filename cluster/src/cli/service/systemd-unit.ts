/** The text of a systemd unit, from nothing but its arguments. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { argvOf, EXIT_FOR_GOOD, RESTART_S, STOP_S_MAX, type ServicePlan } from "./plan.ts";

export function systemdUnit(plan: ServicePlan): string {
  const { node, environment, user } = plan;
  if (/["'\\]/.test(node)) throw new ClusterError("usage", `systemd starts no program whose path holds a quote or a backslash: ${node}`);
  // The user's own manager knows none of these; there the daemon waits for its network by itself.
  const after = user === undefined ? [] : ["Wants=network-online.target", "After=network-online.target tailscaled.service"];
  return [
    "# Written by `openclaw-cluster service install`; edits are lost at the next one.",
    "[Unit]",
    "Description=OpenClaw Cluster",
    ...after,
    "",
    "[Service]",
    ...(user === undefined ? [] : [`User=${inUnit(user)}`]),
    `ExecStart=${[quoted(inUnit(node)), ...argvOf(plan).map(argument)].join(" ")}`,
    ...Object.entries(environment).map(([name, value]) => `Environment=${quoted(inUnit(`${name}=${value}`))}`),
    "Restart=on-failure",
    `RestartSec=${RESTART_S}`,
    "# A wrong setting or a taken port; starting again does not help.",
    `RestartPreventExitStatus=${EXIT_FOR_GOOD}`,
    "# The daemon ends its tasks and nats-server itself, and gives them 20 s before it does.",
    "KillMode=mixed",
    `TimeoutStopSec=${STOP_S_MAX}`,
    "# A task that takes all memory is the task's end, not the daemon's.",
    "OOMPolicy=continue",
    "# The commands of tasks get control groups of their own below the daemon's.",
    "Delegate=memory pids",
    "# The daemon has a log of its own; what it says before that is open goes to the journal.",
    "StandardOutput=null",
    "StandardError=journal",
    "",
    "[Install]",
    `WantedBy=${user === undefined ? "default.target" : "multi-user.target"}`,
    "",
  ].join("\n");
}

/** As it stands in a unit that runs this home's daemon. */
export const systemdHomeMark = (home: string): string => ` "--home" ${argument(home)}\n`;

/** `%` begins a specifier, everywhere in a unit. */
const inUnit = (text: string): string => text.replaceAll("%", "%%");
const quoted = (text: string): string => `"${text.replaceAll(/["\\]/g, "\\$&")}"`;
/** `$` begins a variable, in the arguments of a command alone: not in the program's path, not in Environment=. */
const argument = (text: string): string => quoted(inUnit(text).replaceAll("$", "$$$$"));
