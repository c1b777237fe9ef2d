/** The text of a launchd agent's property list, from nothing but its arguments. */
import path from "node:path";
import { argvOf, NAME_DEFAULT, STOP_S_MAX, type ServicePlan } from "./plan.ts";
import { xmlText } from "./xml.ts";

/** launchd starts nothing more often than each ten seconds, and cannot be told that an exit code is for good. */
const RESTART_S = 10;

export const labelOf = (name: string): string => (name === NAME_DEFAULT ? "ai.openclaw.cluster" : `ai.openclaw.cluster.${name}`);

/** What the daemon says before its own log is open. */
export const errorLog = (home: string): string => path.join(home, "logs", "launchd.log");

export function launchAgent(plan: ServicePlan): string {
  const { name, node, home, environment } = plan;
  const argv = [node, ...argvOf(plan)].map((word) => `    ${string(word)}`);
  const variables = Object.entries(environment).map(([key, value]) => `    ${entry(key, string(value))}`);
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">',
    "<!-- Written by `openclaw-cluster service install`; edits are lost at the next one. -->",
    '<plist version="1.0">',
    "<dict>",
    `  ${entry("Label", string(labelOf(name)))}`,
    "  <key>ProgramArguments</key>",
    "  <array>",
    ...argv,
    "  </array>",
    "  <key>EnvironmentVariables</key>",
    "  <dict>",
    ...variables,
    "  </dict>",
    `  ${entry("RunAtLoad", "<true/>")}`,
    `  ${entry("KeepAlive", "<dict><key>SuccessfulExit</key><false/></dict>")}`,
    `  ${entry("ThrottleInterval", `<integer>${RESTART_S}</integer>`)}`,
    `  ${entry("ExitTimeOut", `<integer>${STOP_S_MAX}</integer>`)}`,
    // Else macOS slows it down as it does a job that nobody waits for.
    `  ${entry("ProcessType", string("Interactive"))}`,
    `  ${entry("StandardOutPath", string("/dev/null"))}`,
    `  ${entry("StandardErrorPath", string(errorLog(home)))}`,
    "</dict>",
    "</plist>",
    "",
  ].join("\n");
}

export const launchAgentHomeMark = (home: string): string => `    ${string("--home")}\n    ${string(home)}\n`;

const string = (text: string): string => `<string>${xmlText(text)}</string>`;
const entry = (key: string, value: string): string => `<key>${xmlText(key)}</key>${value}`;
