/** `cluster`: who leads and who stands by, and what the store and the bus stand on. */
import type { ClusterView } from "@openclaw-cluster/contract/cluster";
import type { Command } from "commander";
import { examples, type Act } from "../command.ts";
import { clusterText } from "../control-view.ts";
import { refresh } from "../refresh.ts";
import type { Session } from "../session.ts";

export function configure(command: Command, act: Act): void {
  command.option("--watch", "show it again each second, until Ctrl-C");
  examples(command, "cluster", "cluster --watch", "cluster --json").action(act(cluster));
}

async function cluster(session: Session, { watch }: { readonly watch?: true }): Promise<number> {
  const ask = async (): Promise<ClusterView> => (await session.client()).cluster();
  const text = (view: ClusterView): string => clusterText(session, view, Date.now());
  if (watch === true) return refresh(session, async () => text(await ask()));
  const view = await ask();
  session.show(view, () => text(view));
  return 0;
}
