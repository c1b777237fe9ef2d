/** Has the coordinator move its store, and watches it until that is over. */
import type { Client } from "@openclaw-cluster/contract/client/client";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Migration, MigrationRequest } from "@openclaw-cluster/contract/store-migration";
import { followMigration } from "./migration-view.ts";
import type { Session } from "./session.ts";
import { remark } from "./terminal.ts";

/** undefined: the person went away, and was told how to watch it again. Throws where it failed; the store is as before then. */
export async function moveStore(session: Session, client: Client, request: MigrationRequest): Promise<Migration | undefined> {
  const { migration } = await client.storeMigration();
  if (migration !== undefined && migration.endedAt === undefined && migration.to === request.to)
    remark(session.terminal, "it is under way already");
  else await client.migrateStore(request);
  const ended = await followMigration(session, client, request.to);
  if (ended === undefined) {
    remark(session.terminal, `\nit goes on; watch it: ${session.typed(`store migrate --to ${request.to}`)}`);
    return undefined;
  }
  if (ended.error === undefined) return ended;
  throw new ClusterError(ended.error.code, `The store was not moved, and is as before: ${ended.error.detail}`);
}

export function endText({ to, of, stopMs }: Migration): string {
  const stop = stopMs === undefined ? "" : `; intake stood still for ${(stopMs / 1_000).toFixed(2)} s`;
  return `the store is in ${to} now: ${of} tasks copied, compared, and all that came meanwhile${stop}\n`;
}
