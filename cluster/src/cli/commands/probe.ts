/** `probe`: does work reach this machine, and what else is to be known of it? Asked with the machine's own key; nothing is changed. */
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { probeHere } from "../probing.ts";
import type { Session } from "../session.ts";

interface Options {
  readonly turn?: true;
}

export function configure(command: Command, act: Act): void {
  examples(
    command.option("--turn", "also give its OpenClaw's agent one short turn; a model may have to be paid for it"),
    "probe",
    "probe --turn --json",
  ).action(act(probe));
}

/** 1 when something does not work. */
async function probe(session: Session, { turn }: Options): Promise<number> {
  const { document, text, works } = await probeHere(session, { turn: turn === true });
  session.show(document, () => text);
  return works ? 0 : 1;
}
