/** `store migrate`: moves the coordinator's store from SQLite to etcd, or back, while the cluster works. */
import type { Command } from "commander";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { MigrationRequest } from "@openclaw-cluster/contract/store-migration";
import { examples, type Act } from "../command.ts";
import { INTERRUPTED } from "../follow.ts";
import { endText, moveStore } from "../moving-store.ts";
import type { Session } from "../session.ts";

interface Options {
  readonly to: string;
  readonly endpoints?: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

export function configure(command: Command, act: Act): void {
  examples(command, "store migrate --to etcd", "store migrate --to sqlite --json");
  const migrate = command
    .command("migrate")
    .summary("move it to another kind; the cluster works on, and stands still for a moment at the end")
    .requiredOption("--to <kind>", "etcd or sqlite")
    .option("--endpoints <addresses>", "of an etcd that runs already, with commas between them")
    .option("--ca-file <file>", "certificate of that etcd's authority; like the next two a file on the coordinator's machine")
    .option("--cert-file <file>", "certificate that it wants to see of a client")
    .option("--key-file <file>", "that certificate's key");
  examples(migrate, "store migrate --to etcd --endpoints https://10.0.0.5:2379 --ca-file /etc/etcd/ca.pem", "store migrate --to sqlite")
    .addHelpText(
      "after",
      "\nEverything is copied and compared while tasks come and go; then intake stands still for as long as the last line says. What was\n" +
        "cut off before its end has changed nothing: run it again. Ctrl-C stops watching, not the migration; typed again, the command watches it.",
    )
    .action(act(begin));
}

/** Exit codes: 0 moved, by the error's code where it failed, 130 after Ctrl-C. */
async function begin(session: Session, options: Options): Promise<number> {
  const ended = await moveStore(session, await session.client(), requestOf(options));
  if (ended === undefined) return INTERRUPTED;
  session.show({ ok: true, ...ended }, () => endText(ended));
  return 0;
}

function requestOf({ to, endpoints, caFile, certFile, keyFile }: Options): MigrationRequest {
  if (to !== "etcd" && to !== "sqlite") throw new ClusterError("usage", `--to is etcd or sqlite, not ${to}`);
  const further = { endpoints, caFile, certFile, keyFile };
  if (to === "sqlite" && Object.values(further).some((value) => value !== undefined))
    throw new ClusterError("usage", "--endpoints and its files are for --to etcd");
  const addresses = endpoints?.split(",").filter((address) => address !== "");
  return {
    to,
    ...(addresses !== undefined && { endpoints: addresses }),
    ...(caFile !== undefined && { caFile }),
    ...(certFile !== undefined && { certFile }),
    ...(keyFile !== undefined && { keyFile }),
  };
}
