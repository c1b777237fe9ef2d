/** The text of a task for Windows' Task Scheduler, from nothing but its arguments. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { argvOf, type ServicePlan } from "./plan.ts";
import { xmlText } from "./xml.ts";

/** The least that the schema takes, and the most. */
const RESTART_INTERVAL = "PT1M";
const RESTARTS_MAX = 255;

/** `account`: `DOMAIN\ann`, at whose logon it starts. */
export function logonTask(plan: ServicePlan, account: string): string {
  // The scheduler puts variables in their place (%TEMP%, $(Arg0)) and knows no way to write such a text itself.
  for (const text of [plan.node, plan.program, plan.home])
    if (/%[^%]+%|\$\(/.test(text)) throw new ClusterError("usage", `the Task Scheduler would read a variable in ${text}`);
  const user = xmlText(account);
  return [
    '<?xml version="1.0" encoding="UTF-16"?>',
    "<!-- Written by `openclaw-cluster service install`; edits are lost at the next one. -->",
    '<Task version="1.4" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">',
    "  <RegistrationInfo>",
    "    <Description>OpenClaw Cluster</Description>",
    "  </RegistrationInfo>",
    "  <Triggers>",
    `    <LogonTrigger><Enabled>true</Enabled><UserId>${user}</UserId></LogonTrigger>`,
    "  </Triggers>",
    "  <Principals>",
    '    <Principal id="Author">',
    `      <UserId>${user}</UserId>`,
    "      <LogonType>InteractiveToken</LogonType>",
    "      <RunLevel>LeastPrivilege</RunLevel>",
    "    </Principal>",
    "  </Principals>",
    "  <Settings>",
    "    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>",
    "    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>",
    "    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>",
    "    <AllowHardTerminate>true</AllowHardTerminate>",
    "    <StartWhenAvailable>true</StartWhenAvailable>",
    "    <RunOnlyIfNetworkAvailable>false</RunOnlyIfNetworkAvailable>",
    "    <RunOnlyIfIdle>false</RunOnlyIfIdle>",
    "    <AllowStartOnDemand>true</AllowStartOnDemand>",
    "    <Enabled>true</Enabled>",
    "    <Hidden>true</Hidden>",
    "    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>",
    "    <Priority>5</Priority>",
    `    <RestartOnFailure><Interval>${RESTART_INTERVAL}</Interval><Count>${RESTARTS_MAX}</Count></RestartOnFailure>`,
    "  </Settings>",
    '  <Actions Context="Author">',
    "    <Exec>",
    // A console without a window; the setting Hidden above only hides the task in the list.
    "      <Command>%SystemRoot%\\System32\\conhost.exe</Command>",
    `      <Arguments>--headless ${xmlText([plan.node, ...argvOf(plan)].map(windowsArgument).join(" "))}</Arguments>`,
    "    </Exec>",
    "  </Actions>",
    "</Task>",
    "",
  ].join("\r\n");
}

export const logonTaskHomeMark = (home: string): string => `${xmlText(` "--home" ${windowsArgument(home)}`)}</Arguments>`;

/** As CommandLineToArgvW reads it: backslashes count only before a quote, where each is doubled. */
export function windowsArgument(text: string): string {
  return `"${text.replaceAll(/(\\*)"/g, '$1$1\\"').replace(/\\+$/, "$&$&")}"`;
}
