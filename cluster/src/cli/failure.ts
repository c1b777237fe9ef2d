/**
 * How a command says that it failed: one line what, one line what to do next; with --json one document on stdout
 * instead. The exit code comes from the table of errors: 1 failed, 2 not understood or could not run.
 */
import { styleText } from "node:util";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { redact } from "../system/redact.ts";
import { plain, remark, type Terminal } from "./terminal.ts";

export interface Failure {
  readonly code: string;
  readonly detail: string;
  readonly hint: string;
  readonly exit: number;
  /** Of a fault of ours, for the report. */
  readonly stack?: string;
}

export function failureOf(error: unknown): Failure {
  // What others said of a failure can quote an address with a secret in it; stderr of a daemon is kept in a journal.
  if (error instanceof ClusterError) return { code: error.code, detail: redact(error.detail), hint: error.row.hint, exit: error.row.exit };
  const { code, detail, row } = new ClusterError("internal", error instanceof Error ? error.message : String(error));
  return {
    code,
    detail: redact(detail),
    hint: row.hint,
    exit: row.exit,
    ...(error instanceof Error && error.stack !== undefined && { stack: redact(error.stack) }),
  };
}

/** Prints it and gives the exit code. */
export function tellFailure(terminal: Terminal, json: boolean, { code, detail, hint, exit, stack }: Failure): number {
  if (stack !== undefined) remark(terminal, stack);
  if (json) {
    terminal.out(`${JSON.stringify({ ok: false, error: { code, detail, hint } }, null, 2)}\n`);
    return exit;
  }
  const mark = terminal.colour.err ? styleText("red", "error:", { validateStream: false }) : "error:";
  terminal.err(`${mark} ${plain(detail).replace(/\.$/, "")} (${code})\n hint: ${hint}\n`);
  return exit;
}
