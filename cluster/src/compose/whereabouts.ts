/** Where whoever leads is, for requests that are relayed there; each leader has a signal that aborts when another one leads. */
import type { Leadership } from "../store/leadership.ts";

export class Whereabouts {
  present: { readonly url: string; readonly signal: AbortSignal } | undefined;
  private over = new AbortController();

  constructor(leadership: Pick<Leadership<never>, "leader" | "onLeader">, self: string) {
    const note = (leader: Leadership["leader"]): void => {
      this.over.abort(new Error("another one leads"));
      this.over = new AbortController();
      const [url] = leader?.urls ?? [];
      this.present = url === undefined || leader?.node === self ? undefined : { url, signal: this.over.signal };
    };
    leadership.onLeader(note);
    note(leadership.leader);
  }
}
