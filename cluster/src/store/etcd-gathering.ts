/**
 * Single keys that many callers ask for at once are read together: what a request to etcd costs hardly depends on how many keys it
 * reads. An array of 500 tasks with a dedupe key each asks for 500.
 *
 * G1. A key is read after it was asked for, never before.
 */
import { OPERATIONS_MAX, type Entry } from "./etcd-client.ts";
import type { Look } from "./etcd-look.ts";

interface Batch {
  readonly keys: string[];
  readonly found: Promise<readonly (Entry | undefined)[]>;
  send(): void;
}

export class Gathering {
  private readonly look: Look;
  private open: Batch | undefined;

  constructor(look: Look) {
    this.look = look;
  }

  async get(key: string): Promise<Entry | undefined> {
    const batch = (this.open ??= this.begin());
    const at = batch.keys.push(key) - 1;
    if (batch.keys.length >= OPERATIONS_MAX) batch.send();
    return (await batch.found)[at];
  }

  private begin(): Batch {
    const { promise, resolve } = Promise.withResolvers<void>();
    const keys: string[] = [];
    const send = (): void => {
      if (this.open === batch) this.open = undefined;
      resolve();
    };
    const found = promise.then(async () => (await this.look.get(keys)).found);
    const batch = { keys, found, send };
    this.look.place.clock.soon(send);
    return batch;
  }
}
