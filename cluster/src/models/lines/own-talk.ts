/**
 * One request of a node's, as whoever leads hears it where the node may answer by itself: two requests on the line, one at the router.
 *
 * W1. What is said next, a grant or an answer, goes to the request that is open at the moment.
 * W2. A node that was granted its own place and says nothing more, or whose request ends in between, has left.
 */
import { Readable } from "node:stream";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Clock, Timer } from "../../system/clock.ts";
import { jsonOf } from "../../system/json-of.ts";
import { readLines } from "./line-body.ts";
import type { LineAnswer } from "./line.ts";
import type { OwnGrant, OwnPlace, OwnRun, Over } from "../models.ts";
import { failureIn, faultOf, grantHeaders, OwnWord } from "./own-words.ts";

/** W2: a node begins at once. */
const BEGIN_MS = 10_000;
const WORDS_BYTES_MAX = 16 * 1024;
const nothing = (): LineAnswer => ({ status: 204, headers: {}, body: Readable.from([]) });

interface Run {
  readonly begun: PromiseWithResolvers<{ isStream: boolean }>;
  readonly over: PromiseWithResolvers<Over>;
  isOver: boolean;
}

export class OwnTalk implements OwnPlace {
  readonly node: NodeId;
  private readonly id: string;
  private readonly clock: Clock;
  private readonly leaving = new AbortController();
  /** Granted, and not heard of since. */
  private isGranted = false;
  private next = Promise.withResolvers<LineAnswer>();
  private run: Run | undefined;
  private due: Timer | undefined;

  constructor(node: NodeId, id: string, clock: Clock) {
    this.node = node;
    this.id = id;
    this.clock = clock;
  }

  /** Aborts when the node has left, and after the end of all that was said. */
  get gone(): AbortSignal {
    return this.leaving.signal;
  }

  /** W1: for the request that is open. */
  hear(gone: AbortSignal): Promise<LineAnswer> {
    this.next = Promise.withResolvers();
    gone.addEventListener("abort", () => this.isGranted || this.leave(), { once: true });
    return this.next.promise;
  }

  say(answer: LineAnswer): void {
    this.next.resolve(answer);
  }

  fail(error: unknown): void {
    this.next.reject(error);
  }

  begin(grant: OwnGrant): Promise<OwnRun> {
    const run: Run = { begun: Promise.withResolvers(), over: Promise.withResolvers(), isOver: false };
    this.run = run;
    this.isGranted = true;
    this.due = this.clock.after(BEGIN_MS, () => this.leave());
    this.say({ status: 200, headers: grantHeaders(this.id, grant), body: Readable.from([]) });
    return run.begun.promise.then(({ isStream }) => ({ isStream, over: run.over.promise }));
  }

  /** The second request. */
  follow(words: Readable, gone: AbortSignal): Promise<LineAnswer> | undefined {
    const { run } = this;
    if (run === undefined || !this.isGranted) return undefined;
    this.isGranted = false;
    this.due?.cancel();
    const said = this.hear(gone);
    void readLines(words, WORDS_BYTES_MAX, (line) => this.heard(run, line)).then(() => {
      // W2.
      if (!run.isOver) this.leave();
    });
    return said;
  }

  private heard(run: Run, line: string): void {
    const word = OwnWord.safeParse(jsonOf(line)).data;
    if (word === undefined || run.isOver) return;
    if (word.kind === "begun") return run.begun.resolve({ isStream: true });
    run.isOver = true;
    if (word.kind === "failed") return run.begun.reject(failureIn(word));
    run.begun.resolve({ isStream: false });
    run.over.resolve(word.kind === "cut" ? { how: "cut", fault: faultOf(word.fault) } : { how: word.how, tokens: word.tokens });
    this.say(nothing());
  }

  private leave(): void {
    const { run } = this;
    this.due?.cancel();
    this.leaving.abort();
    if (run === undefined || run.isOver) return;
    run.isOver = true;
    run.begun.reject(this.leaving.signal.reason);
    run.over.resolve({ how: "left", tokens: 0 });
  }
}
