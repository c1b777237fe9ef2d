/** The models that nodes lend, as a FakeCoordinator tells of them: those that a test has said. */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { LentModel } from "@openclaw-cluster/contract/models";
import { NODE } from "./fake-answers.ts";
import { FakeMigrations } from "./fake-migrations.ts";

/** Of an Ollama, loaded, unless `more` says otherwise. */
export function lentModel(id: string, more: Partial<Omit<LentModel, "node">> & { node?: string } = {}): LentModel {
  const can = { chat: true, tools: true, vision: false, json: true, embeddings: false };
  return { id, endpoint: "ollama", server: "ollama", can, state: "loaded", ...more, node: (more.node ?? NODE) as NodeId };
}

export class FakeModels extends FakeMigrations {
  lent: readonly LentModel[] = [];

  async models(): Promise<readonly LentModel[]> {
    this.check();
    return this.lent;
  }
}
