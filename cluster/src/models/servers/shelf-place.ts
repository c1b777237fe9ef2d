/**
 * One place of the shelf: an address where a model server is, or may be, and what it has as last seen.
 *
 * W1. One look at a time; who asks for another meanwhile gets the one that is under way.
 * W2. A server that refuses the call is gone at once, and one that says nothing is when HEAR_MS are over, unless it brings an answer
 *     meanwhile: then it is at work. One that says what is not understood is gone at the second time in a row.
 * W3. At an address that nobody set, only a program that is recognised is lent. A stranger there (somebody's own work on port 8000) is asked
 *     ever more rarely what it is, and in between only whether it is still there.
 * W4. One that said nothing is still what it was: when it goes on (the machine was asleep, a debugger held it) it is no stranger.
 */
import type { ModelServerKind, NodeModelOffer } from "@openclaw-cluster/contract/models";
import type { Clock, Timer } from "../../system/clock.ts";
import type { SparingLog } from "../../system/sparing-log.ts";
import { takesCall } from "../../system/takes-call.ts";
import { llamaCppLister } from "./llama-cpp.ts";
import { lmStudioLister } from "./lm-studio.ts";
import { ModelFault } from "../models.ts";
import { ollamaLister } from "./ollama.ts";
import { openAiLister } from "./openai.ts";
import type { Lister } from "./reading.ts";
import { recognise } from "./recognise.ts";
import { HEAR_MS, ModelServer } from "./model-server.ts";
import { vllmLister } from "./vllm.ts";

/**
 * From one look's beginning to the next. A server that comes or goes is to be noticed within 5 s: one that hangs is noticed after this
 * and HEAR_MS, which leaves half a second for the way to whoever wants to know.
 */
export const LOOK_MS = 1_500;
/** After a look that was not understood, so that the second is soon, and after one that took long. */
const AGAIN_MS = 500;
/** W3. It is asked anew after 2 s, 4 s, 8 s and so on; a server that takes its port over unnoticed is found in a minute. */
const STRANGER_MS_MAX = 60_000;

const LISTERS: Readonly<Record<ModelServerKind, (server: ModelServer, endpoint: string) => Lister>> = {
  ollama: ollamaLister,
  lmstudio: lmStudioLister,
  llamacpp: llamaCppLister,
  vllm: vllmLister,
  mlx: (server, endpoint) => openAiLister(server, endpoint, "mlx"),
  openai: (server, endpoint) => openAiLister(server, endpoint, "openai"),
};

export interface PlaceParts {
  readonly url: string;
  readonly apiKey?: string | undefined;
  readonly kind?: ModelServerKind | undefined;
  readonly paid?: boolean | undefined;
  /** W3 */
  readonly isSet: boolean;
  nameFor(kind: ModelServerKind): string;
  readonly clock: Clock;
  readonly log: SparingLog;
  onChange(): void;
}

interface Found {
  readonly kind: ModelServerKind;
  readonly name: string;
  readonly list: Lister;
}

export class ShelfPlace {
  readonly server: ModelServer;
  private readonly parts: PlaceParts;
  private found: Found | undefined;
  private seen: readonly NodeModelOffer[] = [];
  private looking: Promise<void> | undefined;
  private failures = 0;
  /** Does the log say already that it is away? */
  private isTold = false;
  private stranger: { readonly until: number; readonly ms: number } | undefined;
  private timer: Timer | undefined;
  private isClosed = false;

  constructor(parts: PlaceParts) {
    this.parts = parts;
    this.server = new ModelServer(parts);
  }

  get offers(): readonly NodeModelOffer[] {
    return this.seen;
  }

  /** Of the server that is there. */
  get kind(): ModelServerKind | undefined {
    return this.found?.kind;
  }

  /** Looks now and from then on. */
  start(): void {
    void this.look();
  }

  /** W1. Never rejects. */
  look(): Promise<void> {
    if (this.isClosed) return Promise.resolve();
    this.timer?.cancel();
    const { clock } = this.parts;
    const begun = clock.monotonic();
    this.looking ??= this.lookOnce().finally(() => {
      this.looking = undefined;
      if (this.isClosed) return;
      const restMs = this.failures > 0 ? 0 : LOOK_MS - (clock.monotonic() - begun);
      this.timer = clock.after(Math.max(restMs, AGAIN_MS), () => void this.look());
    });
    return this.looking;
  }

  close(): void {
    this.isClosed = true;
    this.timer?.cancel();
    this.server.close();
  }

  private async lookOnce(): Promise<void> {
    const { spokenBytes } = this.server;
    try {
      this.found ??= await this.find();
      if (this.found === undefined) return this.show([]);
      const { paid = false } = this.parts;
      const listed = await this.found.list();
      const offers = paid ? listed.map((offer) => ({ ...offer, paid })) : listed;
      this.failures = 0;
      this.isTold = false;
      this.show(offers);
    } catch (error) {
      if (isSilent(error) && this.server.spokenBytes > spokenBytes) return;
      this.fail(error);
    }
  }

  private async find(): Promise<Found | undefined> {
    const { isSet, nameFor, clock, log, url } = this.parts;
    if (!isSet && !(await takesCall(this.server.root, HEAR_MS))) {
      this.stranger = undefined;
      return undefined;
    }
    if (this.stranger !== undefined && clock.monotonic() < this.stranger.until) return undefined;
    const kind = this.parts.kind ?? (await recognise(this.server));
    if (kind === undefined || (kind === "openai" && !isSet)) {
      if (isSet) throw new ModelFault("unreachable", "nothing answers there that is known");
      this.estrange();
      return undefined;
    }
    this.stranger = undefined;
    const name = nameFor(kind);
    if (this.parts.kind === undefined) log.info(url, { url, kind }, "a model server was found");
    return { kind, name, list: LISTERS[kind](this.server, name) };
  }

  /** W3 */
  private estrange(): void {
    const ms = Math.min((this.stranger?.ms ?? LOOK_MS / 2) * 2, STRANGER_MS_MAX);
    this.stranger = { until: this.parts.clock.monotonic() + ms, ms };
  }

  /** W2 */
  private fail(error: unknown): void {
    if (this.isClosed) return;
    const { url, log, isSet } = this.parts;
    this.failures += 1;
    const isGone = isSilent(error) || (error instanceof ModelFault && error.kind === "unreachable");
    if (!isGone && this.failures < 2) return;
    const isNews = !this.isTold && (isSet || this.found !== undefined);
    this.failures = 0;
    // W4
    if (!isSilent(error)) this.found = undefined;
    this.show([]);
    if (!isNews) return;
    this.isTold = true;
    log.warn(url, { url, err: error }, "a model server is not there, or says what is not understood");
  }

  private show(offers: readonly NodeModelOffer[]): void {
    if (this.isClosed || JSON.stringify(offers) === JSON.stringify(this.seen)) return;
    this.seen = offers;
    this.parts.onChange();
  }
}

const isSilent = (error: unknown): boolean => error instanceof ModelFault && error.kind === "silent";
