/** `store migrate`: moves the coordinator's store from SQLite to etcd, or back, while the cluster works. */
import type { Command } from "commander";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Migration, MigrationRequest } from "@openclaw-cluster/contract/store-migration";
import { examples, type Act } from "../command.ts";
import { INTERRUPTED } from "../follow.ts";
import { followMigration } from "../migration-view.ts";
import type { Session } from "../session.ts";
import { remark } from "../terminal.ts";

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
  const request = requestOf(options);
  const client = await session.client();
  const { migration } = await client.storeMigration();
  if (migration !== undefined && migration.endedAt === undefined && migration.to === request.to)
    remark(session.terminal, "it is under way already");
  else await client.migrateStore(request);
  const ended = await followMigration(session, client, request.to);
  if (ended === undefined) {
    remark(session.terminal, `\nit goes on; watch it: ${session.typed(`store migrate --to ${request.to}`)}`);
    return INTERRUPTED;
  }
  if (ended.error !== undefined)
    throw new ClusterError(ended.error.code, `The store was not moved, and is as before: ${ended.error.detail}`);
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

function endText({ to, of, stopMs }: Migration): string {
  const stop = stopMs === undefined ? "" : `; intake stood still for ${(stopMs / 1_000).toFixed(2)} s`;
  return `the store is in ${to} now: ${of} tasks copied, compared, and all that came meanwhile${stop}\n`;
}
