/** `discover`: which machines of this machine's tailnet answer as a coordinator. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Command } from "commander";
import { tailscaleAdvice, tailscaleState } from "../../system/tailscale.ts";
import { examples, type Act } from "../command.ts";
import { findCoordinators } from "../discovery.ts";
import { readCount } from "../ids.ts";
import type { Session } from "../session.ts";
import { table } from "../table.ts";

const PORT = 8888;
const PORT_MAX = 65_535;

export function configure(command: Command, act: Act): void {
  command.option("--port <port>", "the port of the API to try", String(PORT));
  examples(command, "discover", "discover --port 8899 --json")
    .addHelpText(
      "after",
      "\nAsks each machine of the tailnet that is online for /healthz; that one answers does not prove whose it is. A join code does.",
    )
    .action(act(discover));
}

/** Exit code 1 where none is found. */
async function discover(session: Session, options: { port: string }): Promise<number> {
  const port = readCount(options.port, "--port", PORT_MAX);
  const { tailscale, asked, coordinators } = await findCoordinators({ env: session.terminal.env, port });
  if (tailscale.kind !== "running")
    throw new ClusterError("unavailable", `Tailscale ${tailscaleState(tailscale)}. ${tailscaleAdvice(tailscale)}`);
  session.show({ port, asked, coordinators }, () => {
    if (coordinators.length === 0)
      return `None of ${asked} machines of the tailnet that are online answers as a coordinator at port ${port}.\n`;
    const list = table(session.terminal, coordinators, [
      { title: "MACHINE", value: ({ name }) => name },
      { title: "ADDRESS", value: ({ url }) => url },
    ]);
    return `${list}\nTo join one, make a code there: openclaw-cluster invite\n`;
  });
  return coordinators.length === 0 ? 1 : 0;
}
