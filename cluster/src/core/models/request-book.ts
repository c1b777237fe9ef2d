/**
 * The requests for models that are under way, and the last ones that ended: what people ask when they wonder why. In memory, at
 * whoever leads; another one that takes the lead begins a new one.
 *
 * B1. Of those that ended REQUESTS_KEPT_MAX are kept; those that are under way are as many as the router lets in.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { ModelRequestRecord } from "@openclaw-cluster/contract/model-requests";
import { ModelFigures } from "./model-figures.ts";
import { NotedRequest, type AskedFor, type RequestNotes } from "./request-notes.ts";

/** B1: half a day of a busy home. Three places to choose from make a record of about 2 KB. */
export const REQUESTS_KEPT_MAX = 1_000;

export interface RequestFilter {
  /** It was sent there, or stands in a line there. */
  readonly node?: NodeId;
  /** As it was asked for, or as a place that it was sent to calls it. */
  readonly model?: string;
  readonly user?: string;
  readonly limit: number;
}

export class RequestBook {
  readonly figures = new ModelFigures();
  /** In the order in which they came. */
  private readonly requests = new Map<string, NotedRequest>();
  /** In the order in which they ended. */
  private readonly ended = new Set<string>();

  /** `now`: monotonic milliseconds. */
  open(asked: AskedFor, now: number): RequestNotes {
    const { id } = asked;
    const request = new NotedRequest(asked, now, this.figures, () => {
      if (this.requests.get(id) === request) this.end(id);
    });
    this.requests.set(id, request);
    return request;
  }

  /** As it stands now. */
  find(id: string): ModelRequestRecord | undefined {
    return this.requests.get(id)?.record();
  }

  /** Newest first. */
  list({ limit, ...conditions }: RequestFilter): ModelRequestRecord[] {
    const found: ModelRequestRecord[] = [];
    for (const request of [...this.requests.values()].reverse()) {
      if (found.length >= limit) break;
      const record = request.record();
      if (meets(record, conditions)) found.push(record);
    }
    return found;
  }

  private end(id: string): void {
    this.ended.add(id);
    if (this.ended.size <= REQUESTS_KEPT_MAX) return;
    const oldest = this.ended.values().next().value as string;
    this.ended.delete(oldest);
    this.requests.delete(oldest);
  }
}

function meets({ attempts, name, user }: ModelRequestRecord, wished: Omit<RequestFilter, "limit">): boolean {
  if (wished.user !== undefined && user !== wished.user) return false;
  if (wished.node !== undefined && !attempts.some(({ node }) => node === wished.node)) return false;
  return wished.model === undefined || name === wished.model || attempts.some(({ model }) => model === wished.model);
}
