/** `doctor`: what is well with this machine and its way to the cluster, and what to do about the rest. */
import type { Command } from "commander";
import { fail, ok, warn, type Check } from "../../compose/check.ts";
import { checkMachine } from "../../compose/checks.ts";
import { examples, type Act } from "../command.ts";
import { failureOf } from "../failure.ts";
import type { Session } from "../session.ts";
import { table } from "../table.ts";
import { paint, plainLine, type Style, type Terminal } from "../terminal.ts";
import { duration } from "../time.ts";

const STYLES: Record<Check["level"], Style> = { ok: "green", warn: "yellow", fail: "red" };
/** Leases and time-outs bear more; but whoever compares times of two machines should know. */
const CLOCKS_APART_MS = 5_000;

export function configure(command: Command, act: Act): void {
  examples(command.option("--lint", "exit with 1 when anything is not well"), "doctor", "doctor --lint --json").action(act(doctor));
}

async function doctor(session: Session, options: { lint?: true }): Promise<number> {
  const { home, terminal } = session;
  const [machine, ...cluster] = await Promise.all([checkMachine({ home, env: terminal.env }), checkCoordinator(session)]);
  const checks = [...machine, ...cluster];
  const findings = checks.filter(({ level }) => level !== "ok").length;
  session.show({ ok: findings === 0, checks }, () => reportText(terminal, checks));
  return options.lint === true && findings > 0 ? 1 : 0;
}

/** Reaches the coordinator with the token, and compares clocks. */
async function checkCoordinator(session: Session): Promise<Check> {
  const name = "coordinator";
  try {
    const client = await session.client();
    const url = await session.url();
    const asked = Date.now();
    const { status, problems, checkedAt } = await client.health();
    const apart = Math.abs(checkedAt - (asked + Date.now()) / 2);
    if (apart > CLOCKS_APART_MS)
      return warn(
        name,
        `${url}: its clock and this one are ${duration(apart)} apart`,
        "Let both machines set their clocks by the network (NTP).",
      );
    return status === "ok"
      ? ok(name, `${url} answers and is well`)
      : warn(name, `${url}: ${problems.join("; ")}`, "`openclaw-cluster status` says more.");
  } catch (error) {
    const { code, detail } = failureOf(error);
    if (code === "coordinator_unreachable") return warn(name, detail, "Start it: openclaw-cluster start");
    return fail(name, `${detail} (${code})`, failureOf(error).hint);
  }
}

function reportText(terminal: Terminal, checks: readonly Check[]): string {
  const list = table(terminal, checks, [
    { title: "", value: ({ level }) => level, style: ({ level }) => STYLES[level] },
    { title: "CHECK", value: ({ name }) => name },
    { title: "FOUND", value: ({ found }) => found },
  ]);
  const advice = checks
    .flatMap(({ name, advice: todo }) => (todo === undefined ? [] : [`${paint(terminal, "bold", name)}: ${plainLine(todo)}\n`]))
    .join("");
  return advice === "" ? `${list}\nall well\n` : `${list}\nWhat to do\n${advice}`;
}
