/**
 * The etcd that several control nodes share, and the truth that is in it: what is taken there is read back as the store wrote it and
 * shown to the checker at that very moment, whoever has heard of it.
 */
import type { TaskRecord } from "../../../cluster/src/core/task.ts";
import { epochIn } from "../../../cluster/src/store/etcd-claim.ts";
import type { EtcdClient, Operation } from "../../../cluster/src/store/etcd-client.ts";
import { fromJson, rowsOf, type LogEntry } from "../../../cluster/src/store/etcd-codec.ts";
import { Keys, numberIn } from "../../../cluster/src/store/etcd-keys.ts";
import { openEtcdStore } from "../../../cluster/src/store/etcd.ts";
import type { Store } from "../../../cluster/src/store/store.ts";
import { RamEtcd, ramEtcdClient } from "../../support/ram-etcd.ts";
import type { Chance } from "./chance.ts";
import type { Checker } from "./checker.ts";
import { etcdLine, type LineFaults } from "./etcd-line.ts";
import type { PartyClock } from "./party-clock.ts";
import type { VirtualTime } from "./time.ts";

export class SharedEtcd {
  readonly prefix = "sim/";
  /** Called when a party's claim or commit has just been taken: the moment to kill or to stop it. */
  onTaken: ((what: "claim" | "commit", by: PartyClock) => void) | undefined;
  readonly etcd: RamEtcd;
  private readonly time: VirtualTime;
  private readonly chance: Chance;
  private readonly checker: Checker;
  private readonly keys = new Keys(this.prefix);
  /** Of the log's entries, in their order. */
  private readonly nonces: string[] = [];

  constructor(parts: { readonly time: VirtualTime; readonly chance: Chance; readonly checker: Checker }) {
    ({ time: this.time, chance: this.chance, checker: this.checker } = parts);
    this.etcd = new RamEtcd(this.time, this.chance.fork().next);
  }

  /** As whoever never lost an answer would read it now. */
  get truth(): Promise<Store> {
    return openEtcdStore({ client: ramEtcdClient(this.etcd), prefix: this.prefix, clock: this.time });
  }

  /** What is written through it is one writer's. */
  connect(clock: PartyClock, faults: LineFaults): EtcdClient {
    const { etcd, time } = this;
    const writer = {};
    const line = etcdLine({ etcd, faults, time, clock, chance: this.chance.fork() });
    const client = ramEtcdClient(etcd, line);
    return {
      ...client,
      // Told at once, so that whoever looks at a world at rest finds it as it was.
      status: async () => etcd.status(),
      transact: (transaction, options) => {
        const { then, otherwise = [] } = transaction;
        if (then.every((operation) => "get" in operation) && otherwise.length === 0) return client.transact(transaction, options);
        return line.call(() => {
          const answer = etcd.transact(transaction);
          if (answer.held) this.taken(then, writer, clock);
          return answer;
        }, options);
      },
    };
  }

  private taken(operations: readonly Operation[], writer: object, clock: PartyClock): void {
    for (const operation of operations) {
      if (!("put" in operation)) continue;
      const { put: key, value } = operation;
      if (key === this.keys.epoch) {
        this.checker.claimed(epochIn(value.toString()), writer);
        this.onTaken?.("claim", clock);
      } else if (key.startsWith(this.keys.log) && key !== this.keys.head) {
        this.show(numberIn(key), Buffer.from(value as string), writer);
        this.onTaken?.("commit", clock);
      }
    }
  }

  private show(seq: number, value: Buffer, writer: object): void {
    const entry = fromJson<LogEntry>(value);
    const before = this.nonces[seq - 1];
    // A put that was held up until its twin had been folded: nobody reads it, and the next claim sweeps it away.
    if (before === entry.nonce) return;
    if (seq !== this.nonces.length + 1) this.checker.fault("S1", `entry ${seq} of the log was taken after entry ${this.nonces.length}`);
    this.nonces.push(entry.nonce);
    const { tasks } = this.checker;
    const unknown = entry.rows.changed?.find(({ key }) => !tasks.has(key) && entry.rows.created?.some((one) => one.key === key) !== true);
    if (unknown !== undefined) return this.checker.fault("I6", `t${unknown.key} was changed and never made`, unknown.key);
    const rows = rowsOf(entry, (key) => (tasks.get(key) as TaskRecord).spec);
    this.checker.committed({ epoch: entry.epoch, ...rows }, writer);
  }
}
