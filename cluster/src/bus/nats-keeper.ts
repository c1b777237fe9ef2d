/**
 * The coordinator's side of what is kept: keeps the streams of the nodes that are let in in being, and tells each node its word.
 *
 * K1. The streams may be gone after a server's restart (its folder was deleted), so they are looked at after each connection,
 *     as after each change of nodes or of the number of copies; what fails is tried again for as long as there is a connection.
 * K2. A look that a lost connection has overtaken ends soon: the next one may have to save what a server brings along (S5 in nats-streams.ts).
 */
import { setTimeout as delay } from "node:timers/promises";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Log } from "../system/log.ts";
import type { Message } from "./bus.ts";
import { isPassing, type Connection } from "./nats-connection.ts";
import { Streams } from "./nats-streams.ts";
import { wordFor, type WordAnswer, type Words } from "./nats-words.ts";
import { nodeOf } from "./subjects.ts";

const AGAIN_MS = 1_000;
/**
 * Nobody waits longer for the streams: whoever takes the lead because a machine died asks just when JetStream's own leader, which may have
 * died with it, is elected anew, and would accept nothing for another 5 s. Nodes that come meanwhile try until the streams are there.
 */
const FIRST_TRY_MS_MAX = 1_500;

interface KeeperParts {
  readonly seed: Uint8Array;
  /** On how many servers each stream is kept. */
  readonly replicas: () => number;
  readonly log: Log;
}

export class Keeper implements Words {
  readonly #connection: Connection;
  readonly #seed: Uint8Array;
  readonly #log: Log;
  readonly #streams: Streams;
  readonly #replicas: () => number;
  /** undefined: nobody has said yet; nothing may be removed. */
  #nodes: readonly NodeId[] | undefined;
  #last: Promise<void> = Promise.resolve();
  /** As the last look wanted them. */
  #copies = 0;
  /** Of the connection, so far. */
  #losses = 0;
  #trying = false;

  constructor(connection: Connection, { seed, replicas, log }: KeeperParts) {
    this.#connection = connection;
    this.#seed = seed;
    this.#log = log;
    this.#replicas = replicas;
    this.#streams = new Streams({ wordOf: (node) => wordFor(seed, node), replicas, log });
    connection.onStatus((connected) => {
      if (connected) void this.#ensure();
      else this.#losses += 1;
    });
  }

  /** Resolves after the first try, which may have failed (K1), or goes on. */
  keepFor(nodes: readonly NodeId[]): Promise<void> {
    this.#nodes = [...nodes];
    return Promise.race([this.#ensure(), delay(FIRST_TRY_MS_MAX, undefined, { ref: false })]);
  }

  /** Where that changes on how many each stream is kept, no new connection need follow. */
  serversChanged(): void {
    if (this.#nodes !== undefined && this.#replicas() !== this.#copies) void this.#ensure();
  }

  keeps(node: NodeId): boolean {
    return this.#nodes?.includes(node) === true;
  }

  /** Of each stream. */
  get copies(): number {
    return this.#replicas();
  }

  of(node: NodeId): Promise<string> {
    return Promise.resolve(wordFor(this.#seed, node));
  }

  /** A node asks for its word. */
  readonly tell = ({ subject, respond }: Message): void => {
    respond?.({ word: wordFor(this.#seed, nodeOf(subject)) } satisfies WordAnswer);
  };

  /** One look after the other. */
  #ensure(): Promise<void> {
    this.#last = this.#last.then(() => this.#look());
    return this.#last;
  }

  async #look(): Promise<void> {
    if (this.#nodes === undefined || !this.#connection.connected) return;
    this.#copies = this.#replicas();
    const losses = this.#losses;
    const isOvertaken = (): boolean => this.#losses > losses;
    try {
      if (!(await this.#streams.ensure(this.#connection, this.#nodes, isOvertaken)) && !isOvertaken()) void this.#again();
    } catch (error) {
      const passes = isPassing(error);
      this.#log[passes ? "warn" : "error"]({ err: error }, "the streams of the bus could not be made; trying again");
      void this.#again();
    }
  }

  async #again(): Promise<void> {
    if (this.#trying) return;
    this.#trying = true;
    await delay(AGAIN_MS, undefined, { ref: false });
    this.#trying = false;
    await this.#ensure();
  }
}
