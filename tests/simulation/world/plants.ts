/**
 * Bugs that are planted to see whether the checker finds them: one for each thing that must hold, and those that it found in
 * earnest. A plant changes one place of the product's source as it is loaded; a plant whose place is gone fails loudly, so
 * that it cannot go blind.
 */
import { registerHooks } from "node:module";
import type { Plant } from "./plant.ts";
import { CONTENDING } from "./contending-plants.ts";

export const PLANTS: readonly Plant[] = [
  {
    name: "answers-before-the-commit",
    breaks: ["I1"],
    file: "coordinator/turn.ts",
    find: "      send = await this.parts.commit();",
    put: "      for (const step of applied) step.committed();\n      send = await this.parts.commit();",
  },
  {
    name: "what-is-not-committed-can-be-read",
    breaks: ["P1"],
    file: "coordinator/turn.ts",
    find: "    await this.running;\n    if (this.lost",
    put: "    if (this.lost",
    from: 780,
  },
  {
    name: "a-key-answers-before-its-commit",
    breaks: ["I1"],
    file: "coordinator/intake.ts",
    find: "const known = this.recent.get(nameOf(owner, asked.key)) ??",
    put: "const known = this.fresh.get(nameOf(owner, asked.key)) ?? this.recent.get(nameOf(owner, asked.key)) ??",
  },
  {
    name: "an-end-is-left-again",
    breaks: ["I2", "I6"],
    file: "coordinator/task-desk.ts",
    find: "    const stored = await this.record(id);\n    return this.lead.turn.run(() => {",
    put: '    const stored = await this.record(id);\n    if (stored.state === "succeeded") {\n      await this.lead.turn.run(() => this.ledger.revive(stored, { ...stored, state: "queued", seq: stored.seq + 1 }));\n    }\n    return this.lead.turn.run(() => {',
  },
  {
    name: "any-attempt-may-settle",
    breaks: ["I3", "I5"],
    file: "core/settle.ts",
    find: "return task.lease !== undefined && task.attempt === ref.attempt && task.lease.epoch === ref.epoch;",
    put: "return task.lease !== undefined && ref.attempt > 0;",
  },
  {
    name: "a-number-is-given-twice",
    breaks: ["I4", "I0"],
    file: "core/settle.ts",
    find: "    attempt: task.attempt + 1,",
    put: "    attempt: Math.max(1, task.attempt),",
  },
  {
    name: "a-lease-outlives-its-silence",
    breaks: ["I5"],
    file: "core/liveness.ts",
    find: "return lostAfterMs(labels) - LEASE_MARGIN_MS;",
    put: "return lostAfterMs(labels) + LEASE_MARGIN_MS;",
  },
  {
    name: "a-state-is-skipped",
    breaks: ["I6"],
    file: "core/settle.ts",
    find: '    : transition(task, "cancelling", "cancel_requested");',
    put: '    : { ...task, state: "cancelling", reason: "cancel_requested" };',
  },
  {
    name: "two-terms-have-one-epoch",
    breaks: ["L1", "I7"],
    file: "store/ram.ts",
    find: "    this.epoch += 1;",
    put: "    this.epoch = 1;",
  },
  {
    name: "labels-are-not-asked-for",
    breaks: ["I8"],
    file: "core/scheduling/filter.ts",
    find: "os, arch, labels, skills",
    put: "os, arch, skills",
  },
  {
    name: "a-full-disk-is-not-minded",
    breaks: ["I8"],
    file: "worker/disk-room.ts",
    find: "return this.full !== undefined;",
    put: "return false;",
  },
  {
    name: "slots-are-not-counted",
    breaks: ["I9"],
    file: "worker/slots.ts",
    find: "      if (this.used + demand(next.offer.spec).slots > this.total) return;",
    put: "      if (this.used > 1_000) return;",
  },
  {
    name: "a-cancelled-task-stays-in-the-queue",
    breaks: ["I10", "I0", "I6"],
    file: "coordinator/ledger.ts",
    find: 'task.state !== "queued" && task.state !== "leased") this.scheduler.dequeue(task.key);',
    put: 'task.state !== "queued" && task.state === "failed") this.scheduler.dequeue(task.key);',
  },
  {
    name: "an-attempt-leaves-no-trace",
    breaks: ["I11"],
    file: "coordinator/ledger.ts",
    find: "    if (ended !== undefined) this.attempts.push",
    put: '    if (ended !== undefined && ended.outcome !== "lost") this.attempts.push',
  },
  {
    name: "a-lost-offer-is-not-made-again",
    breaks: ["I13"],
    file: "coordinator/heartbeats.ts",
    find: "if ((agoMs < 0 || agoMs >= REOFFER_MS) && ",
    put: "if (agoMs > 3_600_000 && ",
  },
  {
    name: "an-abort-is-not-heard",
    breaks: ["I5", "I9", "I14"],
    file: "worker/attempt.ts",
    find: "    this.controller?.abort(cause);",
    put: "",
  },
  {
    name: "a-slot-is-not-given-back",
    breaks: ["I15"],
    file: "coordinator/ledger.ts",
    find: "      this.scheduler.release(before, before.lease.node);",
    put: '      if (task.state !== "cancelled") this.scheduler.release(before, before.lease.node);',
  },
  {
    name: "what-is-finished-is-never-forgotten",
    breaks: ["I13"],
    file: "worker/outbox.ts",
    find: "    this.flights.delete(flight);\n    const durable",
    put: "    const durable",
  },
  { name: "keys-are-not-kept", breaks: ["G4"], file: "coordinator/intake.ts", find: "return [...this.fresh.values()];", put: "return [];" },
  {
    name: "what-must-ask-is-run-again",
    breaks: ["G5"],
    file: "core/retry.ts",
    find: "  switch (onLostOf(task)) {",
    put: '  switch ("retry" as OnLost) {',
  },
  {
    name: "an-earlier-life-is-obeyed",
    breaks: ["I5", "G5"],
    file: "worker/offers.ts",
    find: "    if (boot !== this.parts.spool.boot)",
    put: "    if (boot === undefined)",
  },
  {
    name: "a-cancel-can-be-overtaken",
    breaks: ["I6"],
    file: "core/settle.ts",
    find: '  if (known.state === "cancelling") {',
    put: '  if (known.state === "cancelling" && finished.outcome.kind === "succeeded") {\n    return { task: { ...known, state: "succeeded", reason: "done", seq: known.seq + 1, lease: undefined, endedAt: now, result: (finished.outcome as { result?: never }).result } as never };\n  }\n  if (known.state === "cancelling") {',
  },
  {
    name: "a-replaced-key-still-opens",
    breaks: ["K3", "K1"],
    file: "coordinator/member-desk.ts",
    find: "        state.registry.rekey(id, publicKey);\n",
    put: "",
    members: true,
  },
  // Found in earnest, and mended.
  {
    name: "a-lease-forgets-the-life-it-was-for",
    breaks: ["I5", "G5"],
    file: "coordinator/heartbeats.ts",
    find: "sameLife || task.lease?.boot === beat.boot",
    put: "sameLife",
    from: 3_000,
  },
  {
    name: "a-clock-set-back-holds-offers-up",
    breaks: ["I13", "I15"],
    file: "coordinator/heartbeats.ts",
    find: "(agoMs < 0 || agoMs >= REOFFER_MS)",
    put: "(agoMs >= REOFFER_MS)",
  },
  {
    name: "a-clock-set-back-makes-pauses-longer",
    breaks: ["I13"],
    file: "coordinator/watch.ts",
    find: "    if (jumpedMs > -JUMP_MS) return;",
    put: "    if (jumpedMs > -Infinity) return;",
  },
  {
    name: "what-was-not-heard-to-start-is-run-again",
    breaks: ["G5", "I5"],
    file: "core/alarms.ts",
    find: "  if (isHarmless(task)) return {",
    put: "  if (task.key > 0) return {",
  },
  {
    name: "old-news-of-an-end-is-believed",
    breaks: ["I5"],
    file: "coordinator/inbox.ts",
    find: "if (parts.busServer?.isConnected?.(node) === true) return;",
    put: "",
  },
  {
    name: "an-overtaken-heartbeat-is-believed",
    breaks: ["I5", "G5"],
    file: "coordinator/heartbeats.ts",
    find: "  if (entry.boot === boot) return n > entry.said;",
    put: "  if (entry.boot === boot) return n > 0;",
    from: 3_000,
  },
  {
    name: "a-slot-is-free-before-its-work-has-stopped",
    breaks: ["I9"],
    file: "worker/attempt.ts",
    find: "      if (++this.looksSinceAbort < ABANDON_LOOKS) return;",
    put: "      if (now < 0) return;",
  },
  {
    name: "a-successor-has-no-patience",
    breaks: ["I5", "G5"],
    file: "coordinator/lead.ts",
    find: "if (pauseMs > 0) entry.pausedUntil",
    put: "if (pauseMs > Infinity) entry.pausedUntil",
  },
  {
    name: "a-pause-goes-on-when-the-successor-has-answered",
    breaks: ["I5", "G5"],
    file: "worker/lease-clock.ts",
    find: "    if (sentAtMs >= this.pausedAtMs) this.pausedUntilMs = -Infinity;",
    put: "    this.endsAtMs = Math.max(this.endsAtMs, this.pausedUntilMs);\n    this.pausedUntilMs = -Infinity;",
  },
  {
    name: "a-new-time-of-day-makes-a-lease-longer",
    breaks: ["I5", "G5"],
    file: "worker/lease-clock.ts",
    find: "Math.min(now + DOUBT_MS, lastMs)",
    put: "now + DOUBT_MS",
  },
  {
    name: "what-is-cancelled-and-not-held-is-given-up-at-once",
    breaks: ["I5", "G5"],
    file: "coordinator/heartbeats.ts",
    find: 'task.state === "cancelling" && wasItsOwn && ',
    put: "task.key < 0 && wasItsOwn && ",
  },
  {
    name: "a-life-noticed-in-a-failed-commit-is-forgotten",
    breaks: ["G5", "I5"],
    file: "coordinator/registry.ts",
    find: "    for (const [entry, boot] of this.freshLives) entry.boot = boot;\n",
    put: "",
  },
  {
    name: "a-removal-is-told-before-its-commit",
    breaks: ["I13", "K1"],
    file: "coordinator/join-desk.ts",
    find: "await turn.run(() => state.registry.find(id)?.row)",
    put: "state.registry.find(id)?.row",
    members: true,
  },
  ...CONTENDING,
];

/** From now on the product is loaded with this bug in it. To be called before anything of it is. */
export function plant(name: string): Plant {
  const chosen = PLANTS.find((one) => one.name === name);
  if (chosen === undefined) throw new Error(`there is no plant ${name}; there are ${PLANTS.map((one) => one.name).join(", ")}`);
  registerHooks({
    load(url, context, next) {
      const loaded = next(url, context);
      if (!url.endsWith(`/cluster/src/${chosen.file}`)) return loaded;
      const source = Buffer.from(loaded.source as Uint8Array).toString();
      if (source.split(chosen.find).length !== 2) throw new Error(`the place of the plant ${name} is not in ${chosen.file} any more`);
      return { ...loaded, source: source.replace(chosen.find, () => chosen.put) };
    },
  });
  return chosen;
}
