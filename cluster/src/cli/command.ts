/**
 * What a command's file gives: `configure`, which writes its arguments, options and example on a commander Command and
 * ties an action to it. Files are loaded only when their command is asked for.
 */
import type { Command } from "commander";
import type { Session } from "./session.ts";

/** Wraps an action: opens the session, closes it, keeps the exit code (0 unless the action returns another). */
export type Act = <Options, Args extends readonly (string | string[] | undefined)[]>(
  action: (session: Session, options: Options, ...args: Args) => Promise<number | void>,
) => (...all: unknown[]) => Promise<void>;

export interface CommandFile {
  configure(command: Command, act: Act): void;
}

/** Lines under the help text. Every command has one (a test sees to it). */
export function examples(command: Command, ...lines: readonly string[]): Command {
  return command.addHelpText("after", `\nExamples:\n${lines.map((line) => `  openclaw-cluster ${line}`).join("\n")}`);
}

/** For options that may be given several times. */
export function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}
