/** Who is told of what a bus has refused: its envelopes, and the bus itself. */
import type { Refusal, RefusalListener, Subscription } from "./bus.ts";
import type { Envelopes } from "./envelope-door.ts";

export class Refusals {
  readonly #listeners = new Set<RefusalListener>();
  readonly #unlisten: () => void;

  constructor(envelopes: Pick<Envelopes, "onRefusal">) {
    this.#unlisten = envelopes.onRefusal((party, why) => this.tell(party, why));
  }

  tell(party: string, why: Refusal): void {
    for (const listener of this.#listeners) listener(party, why);
  }

  on(listener: RefusalListener): Subscription {
    this.#listeners.add(listener);
    return { stop: () => this.#listeners.delete(listener) };
  }

  close(): void {
    this.#unlisten();
  }
}
