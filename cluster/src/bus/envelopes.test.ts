import { describe, expect, it } from "vitest";
import { createNodeKeys, type NodeKeys } from "../trust/keys.ts";
import type { Refusal } from "./bus.ts";
import { ask, type Envelopes } from "./envelope-door.ts";
import { openEnvelopes } from "./envelopes.ts";
import { controlTo, COORDINATOR, heartbeatFrom, offersTo, reportFrom } from "./subjects.ts";
import type { NodeId } from "@openclaw-cluster/contract/ids";

const STUDIO = "studio" as NodeId;
const NAS = "nas" as NodeId;
const REPORT = reportFrom(STUDIO);

/** A coordinator and two nodes, whose keys are known to those who should know them. */
class Ground {
  readonly keys = new Map<string, NodeKeys>([COORDINATOR, STUDIO, NAS].map((party) => [party, createNodeKeys()]));
  readonly coordinator = this.live(COORDINATOR);
  readonly studio = this.live(STUDIO);
  readonly nas = this.live(NAS);

  /** Another life of the party. */
  live(party: string): Envelopes {
    const { seed } = this.keys.get(party) as NodeKeys;
    return openEnvelopes({ self: party, seed, keyOf: (one) => this.keys.get(one)?.publicKey });
  }

  /** Says it until it is heard; gives what was heard, and how it was sealed. */
  async say(from: Envelopes, to: Envelopes, subject: string, text: string): Promise<{ heard: string[]; sent: Uint8Array[] }> {
    const heard: string[] = [];
    const sent: Uint8Array[] = [];
    await ask(from, subject, Buffer.from(text), async (bytes) => {
      sent.push(bytes);
      const read = to.read(subject, bytes);
      if (read.kind === "refused") return read.challenge ?? Buffer.from("nothing");
      heard.push(Buffer.from(read.body).toString());
      return read.answer(Buffer.from("heard"));
    });
    return { heard, sent };
  }
}

const whyOf = (envelopes: Envelopes, subject: string, bytes: Uint8Array): Refusal | "heard" => {
  const read = envelopes.read(subject, bytes);
  return read.kind === "refused" ? read.why : "heard";
};

describe("what is sealed", () => {
  it("V2 the first word is said twice, what follows once, both ways", async () => {
    const ground = new Ground();
    const { coordinator, studio } = ground;
    expect((await ground.say(studio, coordinator, REPORT, "one")).sent).toHaveLength(2);
    expect((await ground.say(studio, coordinator, REPORT, "two")).heard).toEqual(["two"]);
    // The coordinator has heard of this life by then.
    expect(coordinator.knows(offersTo(STUDIO))).toBe(true);
    expect((await ground.say(coordinator, studio, offersTo(STUDIO), "three")).sent).toHaveLength(1);
    expect((await ground.say(coordinator, studio, controlTo(STUDIO), "four")).sent).toHaveLength(1);
  });

  it("V1 is heard once, by whom it is for, as what it is", async () => {
    const ground = new Ground();
    const { coordinator, studio, nas } = ground;
    const [first, signed] = (await ground.say(studio, coordinator, REPORT, "one")).sent as [Uint8Array, Uint8Array];
    const [vouched] = (await ground.say(studio, coordinator, REPORT, "two")).sent as [Uint8Array];
    expect([signed, vouched].map((bytes) => String.fromCharCode(bytes[0] as number))).toEqual(["h", "m"]);
    for (const bytes of [signed, vouched]) {
      expect(whyOf(coordinator, REPORT, bytes)).toBe("replayed");
      expect(whyOf(coordinator, heartbeatFrom(STUDIO), bytes)).toBe("forged");
      expect(["forged", "other-life"]).toContain(whyOf(coordinator, reportFrom(NAS), bytes));
      expect(whyOf(nas, offersTo(NAS), bytes)).toBe("other-life");
      // Sent back to whom it comes from.
      expect(whyOf(studio, offersTo(STUDIO), bytes)).toBe("other-life");
      expect(whyOf(coordinator, reportFrom("ghost" as NodeId), bytes)).toBe("stranger");
    }
    expect(whyOf(coordinator, REPORT, first)).toBe("other-life");
    expect(whyOf(coordinator, REPORT, Buffer.from('{"n":1}'))).toBe("unsealed");
  });

  it("V1 an answer is for one question", async () => {
    const ground = new Ground();
    const { coordinator, studio } = ground;
    await ground.say(studio, coordinator, REPORT, "one");
    const questions = ["two", "three"].map((text) => studio.seal(REPORT, Buffer.from(text)));
    const answers = questions.map(({ bytes }) => {
      const read = coordinator.read(REPORT, bytes);
      return read.kind === "message" ? read.answer(Buffer.from("heard")) : Buffer.alloc(0);
    });
    const [two, three] = questions.map(({ question }) => question);
    expect(studio.readAnswer(two as never, answers[1] as Uint8Array)).toEqual({ kind: "refused", why: "forged" });
    expect(studio.readAnswer(three as never, questions[0]?.bytes as Uint8Array)).toEqual({ kind: "refused", why: "unsealed" });
    expect(studio.readAnswer(two as never, answers[0] as Uint8Array).kind).toBe("answer");
  });

  it("V2 a restart of either end makes what was recorded worthless", async () => {
    const ground = new Ground();
    const { coordinator, studio } = ground;
    await ground.say(studio, coordinator, REPORT, "one");
    const report = studio.seal(REPORT, Buffer.from("two"));
    const order = coordinator.seal(controlTo(STUDIO), Buffer.from("shutdown"));
    const [again, successor] = [ground.live(STUDIO), ground.live(COORDINATOR)];
    expect(whyOf(again, controlTo(STUDIO), order.bytes)).toBe("other-life");
    expect(whyOf(successor, REPORT, report.bytes)).toBe("other-life");
    // They find each other, whoever speaks first.
    expect((await ground.say(successor, again, controlTo(STUDIO), "three")).heard).toEqual(["three"]);
    expect((await ground.say(again, successor, REPORT, "four")).sent).toHaveLength(1);
  });

  it("V3 two lives of a coordinator are told apart, and each hears what is for it", async () => {
    const ground = new Ground();
    const { coordinator, studio } = ground;
    await ground.say(studio, coordinator, REPORT, "one");
    const successor = ground.live(COORDINATOR);
    await ground.say(studio, successor, REPORT, "two");
    // The one that was replaced hears it too, and calls the node back. That is heard, and so is the successor again.
    const { bytes, question } = studio.seal(REPORT, Buffer.from("three"));
    const read = coordinator.read(REPORT, bytes);
    expect(studio.readAnswer(question, (read.kind === "refused" && read.challenge) as Uint8Array)).toEqual({ kind: "again" });
    expect((await ground.say(studio, successor, REPORT, "four")).heard).toEqual(["four"]);
    expect((await ground.say(studio, successor, REPORT, "five")).sent).toHaveLength(1);
  });

  it("V3 a life that was dropped after many others is not heard again, nor what any of them said", async () => {
    const ground = new Ground();
    const { coordinator, studio } = ground;
    const recorded = [(await ground.say(studio, coordinator, REPORT, "first")).sent.at(-1) as Uint8Array];
    for (let n = 0; n < 10; n += 1)
      recorded.push((await ground.say(ground.live(STUDIO), coordinator, REPORT, `${n}`)).sent.at(-1) as Uint8Array);
    for (const bytes of recorded) expect(whyOf(coordinator, REPORT, bytes)).toBe("replayed");
    await expect(ground.say(studio, coordinator, REPORT, "again")).rejects.toMatchObject({ code: "bus_unreachable" });
  });

  it("V3 with another key of the node its life has to show itself again", async () => {
    const ground = new Ground();
    const { coordinator, studio } = ground;
    await ground.say(studio, coordinator, REPORT, "one");
    ground.keys.set(STUDIO, createNodeKeys());
    await expect(ground.say(studio, coordinator, REPORT, "two")).rejects.toMatchObject({ code: "bus_unreachable" });
    expect((await ground.say(ground.live(STUDIO), coordinator, REPORT, "three")).heard).toEqual(["three"]);
  });

  it("who was shut out is a stranger from the next message on; refusals are told", async () => {
    const ground = new Ground();
    const { coordinator, studio } = ground;
    const told: [string, Refusal][] = [];
    coordinator.onRefusal((...refusal) => told.push(refusal));
    const { sent } = await ground.say(studio, coordinator, REPORT, "one");
    coordinator.read(REPORT, sent[1] as Uint8Array);
    ground.keys.delete(STUDIO);
    coordinator.read(REPORT, studio.seal(REPORT, Buffer.from("two")).bytes);
    expect(told).toEqual([
      [STUDIO, "replayed"],
      [STUDIO, "stranger"],
    ]);
  });

  it("who lives another life at each word is given up, and who answers with noise is not believed", async () => {
    const ground = new Ground();
    const asked = ask(ground.studio, REPORT, Buffer.from("one"), async (bytes) => {
      const read = ground.live(COORDINATOR).read(REPORT, bytes);
      return (read.kind === "refused" && read.challenge) || Buffer.alloc(0);
    });
    await expect(asked).rejects.toMatchObject({ code: "bus_unreachable" });
    const noise = ask(ground.studio, REPORT, Buffer.from("one"), async () => Buffer.from("{}"));
    await expect(noise).rejects.toMatchObject({ code: "bus_unreachable" });
  });
});
