/**
 * Where a command reads and prints. Tests pass their own, so that a command runs in the test's process.
 *
 * Y1. stdout carries the answer and nothing else; all other words go to stderr.
 * Y2. Colour and anything that moves only where a screen is; NO_COLOR is obeyed.
 */
import { styleText } from "node:util";
import type { Environment } from "../system/folders.ts";

export type Style = Parameters<typeof styleText>[0];

export interface Terminal {
  readonly env: Environment;
  /** Columns of the screen; undefined where stdout is a file or a pipe. */
  readonly columns: number | undefined;
  /** The same of the screen behind stderr. */
  readonly errColumns: number | undefined;
  readonly colour: { readonly out: boolean; readonly err: boolean };
  out(text: string): void;
  err(text: string): void;
  readInput(): Promise<string>;
  /** One line from whoever sits there; undefined where nobody does. */
  ask(question: string): Promise<string | undefined>;
  /** The same, and nobody sees what is typed. */
  askSecretly(question: string): Promise<string | undefined>;
  /** Calls for Ctrl-C, a polite end (SIGTERM) and a closed terminal until stopped; without a listener each ends the process. */
  onInterrupt(listener: () => void): { stop(): void };
  /** At once, without tidying up. */
  exit(code: number): void;
}

const INTERRUPTS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export function processTerminal(): Terminal {
  // A reader such as `head` may close the pipe early: then nobody wants the rest.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  return {
    env: process.env,
    columns: process.stdout.isTTY ? process.stdout.columns : undefined,
    errColumns: process.stderr.isTTY ? process.stderr.columns : undefined,
    colour: { out: process.stdout.isTTY && process.stdout.hasColors(), err: process.stderr.isTTY && process.stderr.hasColors() },
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    readInput: async () => (await import("node:stream/consumers")).text(process.stdin),
    ask: (question) => askHere(question, process.stderr),
    async askSecretly(question) {
      const { Writable } = await import("node:stream");
      if (process.stdin.isTTY) process.stderr.write(question);
      const said = await askHere("", new Writable({ write: (_piece, _encoding, done) => done() }));
      if (said !== undefined) process.stderr.write("\n");
      return said;
    },
    onInterrupt(listener) {
      for (const signal of INTERRUPTS) process.on(signal, listener);
      return {
        stop: () => {
          for (const signal of INTERRUPTS) process.off(signal, listener);
        },
      };
    },
    exit: (code) => process.exit(code),
  };
}

/** `output`: where the question and what is typed are shown. */
async function askHere(question: string, output: NodeJS.WritableStream): Promise<string | undefined> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
  const { createInterface } = await import("node:readline/promises");
  // A terminal, whatever the output is: so nothing but readline echoes what is typed.
  const lines = createInterface({ input: process.stdin, output, terminal: true });
  // Ctrl-C and Ctrl-D are a no.
  const left = new Promise<string>((resolve) => lines.once("close", () => resolve("")));
  const said = await Promise.race([lines.question(question), left]);
  lines.close();
  return said;
}

/** Text for stdout. */
export function paint(terminal: Terminal, style: Style, text: string): string {
  return terminal.colour.out ? styleText(style, text, { validateStream: false }) : text;
}

/** A dim line on stderr: what happens, for whoever watches. */
export function remark(terminal: Terminal, text: string): void {
  terminal.err(`${terminal.colour.err ? styleText("dim", text, { validateStream: false }) : text}\n`);
}

/**
 * Words from elsewhere (names, messages, a model's text) without what would steer a terminal: escape sequences could
 * rewrite the screen or type into it. Line ends and tabs stay.
 */
export function plain(text: string): string {
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "");
}

/** As `plain`, on one line. */
export function plainLine(text: string): string {
  return plain(text.replaceAll(/\s+/g, " ")).trim();
}
