/**
 * A short mark of where the control nodes and the bus are. It goes with each answer to a heartbeat, so that a node whose last session
 * named other places asks for a new one, and knows them before it needs them.
 */
import { createHash } from "node:crypto";
import type { LeadParts } from "./lead-parts.ts";

const MARK_CHARS = 12;

export class PlaceMark {
  private readonly parts: Pick<LeadParts, "controlUrls" | "busUrls">;
  private places = "";
  private mark = "";

  constructor(parts: Pick<LeadParts, "controlUrls" | "busUrls">) {
    this.parts = parts;
  }

  /** The same for the same places, whoever leads and in whatever order it names them. */
  now(): string {
    const places = [...this.parts.controlUrls(), ...this.parts.busUrls()].toSorted().join(" ");
    if (places !== this.places) {
      this.places = places;
      this.mark = createHash("sha256").update(places).digest("base64url").slice(0, MARK_CHARS);
    }
    return this.mark;
  }
}
