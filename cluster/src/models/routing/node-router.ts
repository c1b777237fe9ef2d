/**
 * A node's own router: the cluster's, over the node's line; and where that is not there, this machine's own models, so that a laptop on
 * the road keeps what it has.
 *
 * N1. What the cluster does not know, and this machine has, is answered here, well or not: its owner need not lend it to use it.
 * N2. The cluster's refusal of anything else is the answer.
 * N3. What is asked on one node alone (a task) is the cluster's to answer: not even this machine's own models stand in for it, because not
 *     all of them are lent.
 */
import type { LentModel } from "@openclaw-cluster/contract/models";
import { ModelFault, RouteRefusal, type ModelRequest, type ModelRouter, type RoutedAnswer } from "../models.ts";

const isUnknownTo = (error: unknown): boolean => error instanceof RouteRefusal && error.code === "model_not_found";

export class NodeRouter implements ModelRouter {
  /** The line, while there is one. */
  cluster: ModelRouter | undefined;
  private readonly own: ModelRouter;

  constructor(own: ModelRouter) {
    this.own = own;
  }

  async list(): Promise<readonly LentModel[]> {
    const own = await this.own.list();
    const lent = await this.cluster?.list().catch(() => []);
    const key = ({ node, endpoint, id }: LentModel): string => JSON.stringify([node, endpoint, id]);
    const known = new Set(lent?.map(key));
    return [...(lent ?? []), ...own.filter((model) => !known.has(key(model)))];
  }

  async answer(request: ModelRequest, signal: AbortSignal): Promise<RoutedAnswer> {
    const { cluster } = this;
    if (cluster === undefined) {
      if (request.on !== undefined) throw new ModelFault("unreachable", "there is no line to whoever leads");
      return this.own.answer(request, signal);
    }
    try {
      return await cluster.answer(request, signal);
    } catch (error) {
      const isAway = error instanceof ModelFault && error.kind === "unreachable";
      if (signal.aborted || request.on !== undefined || !(isAway || isUnknownTo(error))) throw error;
      try {
        return await this.own.answer(request, signal);
      } catch (own) {
        // Of two that do not know it the cluster knows more names.
        throw isAway || !isUnknownTo(own) ? own : error;
      }
    }
  }
}
