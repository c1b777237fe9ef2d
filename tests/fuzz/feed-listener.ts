/** The feed of events, heard by a token for as long as a campaign goes on: each event is judged when it comes, and only counted. */
import type { Socket } from "node:net";
import { SseReader } from "@openclaw-cluster/contract/client/sse";
import { ClusterEvent } from "@openclaw-cluster/contract/events";
import { AnswerReading } from "./answer-reading.ts";
import { send } from "./exchange.ts";
import { wrongEvent } from "./judge.ts";

/** More of them tell nothing new. */
const FAULTS_MAX = 5;

export class FeedListener {
  readonly faults: string[] = [];
  /** Events, by their type. */
  readonly heard: Record<string, number> = {};
  private readonly socket: Socket;
  private readonly reading = new AnswerReading();
  private readonly events = new SseReader();
  private readonly text = new TextDecoder("utf-8", { fatal: true });
  private readonly begun = Promise.withResolvers<void>();
  private left = false;

  private constructor(port: number, token: string) {
    const headers = [["authorization", `Bearer ${token}`]] as const;
    this.socket = send(port, { method: "GET", target: "/api/v1/events", headers, body: undefined });
    this.socket.on("data", (piece) => this.take(piece as Buffer));
    this.socket.on("error", (error) => this.fault(error.message));
    this.socket.on("close", () => {
      if (!this.left) this.fault("it was closed");
      this.begun.reject(new Error("the feed was closed before it began"));
    });
  }

  /** From when this resolves nothing is missed. */
  static async open(port: number, token: string): Promise<FeedListener> {
    const feed = new FeedListener(port, token);
    await feed.begun.promise;
    return feed;
  }

  end(): void {
    this.left = true;
    this.socket.destroy();
  }

  private take(piece: Buffer): void {
    try {
      const body = this.reading.push(piece);
      const { head } = this.reading;
      if (head === undefined) return;
      if (head.status !== 200) this.fault(`the status ${head.status}`);
      this.begun.resolve();
      for (const event of this.events.push(this.text.decode(body, { stream: true }))) {
        const fault = wrongEvent(ClusterEvent, event);
        if (fault !== undefined) this.fault(fault);
        // A heartbeat has none.
        if (event.data === "") continue;
        const { type = event.name } = JSON.parse(event.data) as { type?: string };
        this.heard[type] = (this.heard[type] ?? 0) + 1;
      }
    } catch (error) {
      this.fault((error as Error).message);
      this.end();
    }
  }

  private fault(what: string): void {
    if (this.faults.length < FAULTS_MAX) this.faults.push(`the feed of events: ${what}`);
  }
}
