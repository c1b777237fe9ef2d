/** The check list of `probe` and of a `join`: what was looked at, and for each cross the next step. */
import type { Check } from "../compose/check.ts";
import { openTrusted, type Session } from "./session.ts";
import { paint, plainLine, type Style, type Terminal } from "./terminal.ts";

const MARKS: Record<Check["level"], readonly [mark: string, style: Style]> = {
  ok: ["✔", "green"],
  warn: ["!", "yellow"],
  fail: ["✘", "red"],
};

export interface Probing {
  readonly document: object;
  readonly text: string;
  readonly works: boolean;
  /** By the clock of this process, when the echo had come back. */
  readonly ranAtMs?: number;
}

export async function probeHere(session: Session, { turn, signal }: { turn: boolean; signal?: AbortSignal }): Promise<Probing> {
  const { home, terminal } = session;
  const [{ openMember }, { probeNode }] = await Promise.all([import("../compose/member.ts"), import("../compose/probe.ts")]);
  const member = await openMember({ home, env: terminal.env, connect: openTrusted, ...(signal !== undefined && { signal }) });
  try {
    const { checks, echo } = await probeNode({ home, env: terminal.env, member, turn });
    const works = checks.every(({ level }) => level !== "fail");
    return {
      document: { ok: works, node: member.session.node, cluster: member.session.cluster, url: member.url, checks, ...(echo && { echo }) },
      text: listText(terminal, checks),
      works,
      ...(echo !== undefined && { ranAtMs: echo.endedAtMs }),
    };
  } finally {
    await member.close();
  }
}

function listText(terminal: Terminal, checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.flatMap(({ name, level, found, advice }) => {
    const [mark, style] = MARKS[level];
    const line = `${paint(terminal, style, mark)} ${name.padEnd(width)}  ${plainLine(found)}\n`;
    return advice === undefined ? [line] : [line, `  ${" ".repeat(width)}  ${paint(terminal, "dim", `→ ${plainLine(advice)}`)}\n`];
  });
  return lines.join("");
}
