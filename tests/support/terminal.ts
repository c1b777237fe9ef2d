/** Runs the command line in the test's own process, with a terminal that keeps what is printed. */
import { main } from "../../cluster/src/cli/cli.ts";
import type { Terminal } from "../../cluster/src/cli/terminal.ts";

const WAIT_MS = 5_000;

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** What stdin holds. */
  readonly input?: string;
  /** A screen of this width; a pipe unless said. */
  readonly columns?: number;
  /** Of stderr's; as stdout's unless said. */
  readonly errColumns?: number;
  readonly colour?: boolean;
}

export class TestTerminal implements Terminal {
  readonly env: Readonly<Record<string, string>>;
  readonly columns: number | undefined;
  readonly errColumns: number | undefined;
  readonly colour: { out: boolean; err: boolean };
  stdout = "";
  stderr = "";
  exits: number[] = [];
  private readonly input: string;
  private readonly interrupts = new Set<() => void>();
  private waiting: (() => void)[] = [];

  constructor({ env = {}, input = "", columns, errColumns = columns, colour = false }: CliOptions = {}) {
    this.env = env;
    this.input = input;
    this.columns = columns;
    this.errColumns = errColumns;
    this.colour = { out: colour, err: colour };
  }

  out(text: string): void {
    this.stdout += text;
    this.look();
  }

  err(text: string): void {
    this.stderr += text;
    this.look();
  }

  readInput(): Promise<string> {
    return Promise.resolve(this.input);
  }

  ask(question: string): Promise<string | undefined> {
    if (this.columns === undefined) return Promise.resolve(undefined);
    this.err(question);
    return Promise.resolve(this.input);
  }

  askSecretly(question: string): Promise<string | undefined> {
    return this.ask(question);
  }

  onInterrupt(listener: () => void): { stop(): void } {
    this.interrupts.add(listener);
    this.look();
    return { stop: () => void this.interrupts.delete(listener) };
  }

  exit(code: number): void {
    this.exits.push(code);
  }

  /** Ctrl-C. */
  interrupt(): void {
    for (const listener of this.interrupts) listener();
  }

  get interruptible(): boolean {
    return this.interrupts.size > 0;
  }

  /** Resolves when what was printed meets the condition. */
  async until(holds: (terminal: TestTerminal) => boolean): Promise<void> {
    const late = AbortSignal.timeout(WAIT_MS);
    while (!holds(this)) {
      await new Promise<void>((resolve, reject) => {
        this.waiting.push(resolve);
        late.addEventListener("abort", () => reject(new Error(`not within ${WAIT_MS} ms; so far: ${this.stdout}${this.stderr}`)));
      });
    }
  }

  private look(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}

export interface CliRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function runCli(argv: readonly string[], options: CliOptions = {}): Promise<CliRun> {
  const terminal = new TestTerminal(options);
  const code = await main(argv, terminal);
  return { code, stdout: terminal.stdout, stderr: terminal.stderr };
}

/** For a command that goes on: the terminal at once, the exit code when it ends. */
export function startCli(argv: readonly string[], options: CliOptions = {}): { terminal: TestTerminal; ended: Promise<number> } {
  const terminal = new TestTerminal(options);
  return { terminal, ended: main(argv, terminal) };
}
