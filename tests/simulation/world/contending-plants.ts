/** Bugs against what control nodes promise that contend for the lead; as in plants.ts. */
import type { Plant } from "./plant.ts";

const LOOKS_WHO_LEADS = `    if (entries.length > 0 && !(await this.resignFormer())) return undefined;
    const lease = await EtcdLease.open(this.parts, TERM_S);
    const value = JSON.stringify({ ...self, urls: urls.slice(0, LEADER_URLS_MAX) } satisfies Leader);
    try {
      const claim = await store.claim({ when: [{ key: this.key, exists: false }]`;

export const CONTENDING: readonly Plant[] = [
  {
    name: "a-term-that-is-over-is-not-minded",
    breaks: ["L2"],
    file: "compose/shared-lead.ts",
    find: "[aborted(ending), ",
    put: "[aborted(this.leaving.signal), ",
    contend: true,
  },
  {
    name: "a-standby-answers-as-if-it-led",
    breaks: ["L2"],
    file: "compose/shared-lead.ts",
    find: "    takeRole(standby);\n",
    put: "",
    contend: true,
  },
  {
    name: "a-claim-raises-no-epoch",
    breaks: ["L1"],
    file: "store/etcd-claim.ts",
    find: "epochIn(mark) + 1",
    put: "epochIn(mark)",
    contend: true,
  },
  {
    name: "a-claim-does-not-ask-who-leads",
    breaks: ["L2"],
    file: "store/etcd-leadership.ts",
    find: LOOKS_WHO_LEADS,
    put: LOOKS_WHO_LEADS.replace("entries.length > 0", "entries.length > 1").replace("{ key: this.key, exists: false }", ""),
    contend: true,
  },
  {
    name: "a-lease-is-believed-beyond-its-end",
    breaks: ["L2"],
    file: "store/etcd-lease.ts",
    find: "const MARGIN_MS = 500;",
    put: "const MARGIN_MS = -2_000;",
    from: 70,
    contend: true,
  },
  {
    name: "a-renewal-without-an-answer-counts",
    breaks: ["L2"],
    file: "store/etcd-lease.ts",
    find: '      log.debug({ err: error }, "a lease was not renewed");',
    put: "      this.until = Math.max(this.until, sentAt + this.seconds * 1_000 - MARGIN_MS);",
    from: 65,
    contend: true,
  },
  {
    name: "who-was-replaced-may-write",
    breaks: ["L1", "S1", "I2"],
    file: "store/etcd-log.ts",
    find: "when: [seated(place, seat), { key, exists: false }],",
    put: "when: [{ key, exists: false }],",
    from: 90,
    contend: true,
  },
  {
    name: "a-standby-takes-what-it-has-heard-for-the-present",
    breaks: ["S3"],
    file: "store/etcd-reader.ts",
    find: "      while (this.now.seq < wanted && clock.monotonic() < until) await this.nextHeard(until - clock.monotonic());\n      if (this.now.seq >= wanted) return 0;",
    put: "      if (wanted >= 0) return 0;",
    from: 95,
    contend: true,
  },
  {
    name: "who-has-led-never-leads-again",
    breaks: ["L3", "I13"],
    file: "compose/shared-lead.ts",
    find: "        await this.serve(await campaign(signal));",
    put: "        await this.serve(await campaign(signal));\n        return;",
    from: 15,
    contend: true,
  },
  {
    name: "nobody-keeps-the-last-word",
    breaks: ["I5", "G5"],
    file: "coordinator/lead.ts",
    find: "const mayGoOn = former !== undefined && entry.row.id !== former.node;",
    put: "const mayGoOn = false;",
    islands: true,
  },
  {
    name: "nobody-heeds-the-word-of-a-standby",
    breaks: ["I5", "G5"],
    file: "coordinator/watch.ts",
    find: "if (this.words?.holds(entry, now) !== true) loseLeases",
    put: "loseLeases",
    islands: true,
  },
  // Found in earnest, and mended.
  {
    name: "a-term-is-over-before-it-began",
    breaks: ["L2"],
    file: "compose/shared-lead.ts",
    find: "    const ending = AbortSignal.any([term.over, this.leaving.signal]);",
    put: '    const later = new AbortController();\n    for (const one of [term.over, this.leaving.signal]) one.addEventListener("abort", () => later.abort());\n    const ending = later.signal;',
    from: 415,
    contend: true,
  },
  {
    name: "who-was-replaced-trips-over-its-successors-history",
    breaks: ["I0"],
    file: "store/etcd.ts",
    find: "      await confirmSeat(this.place, seat);\n      throw error;",
    put: "      throw error;",
    from: 320,
    contend: true,
  },
];
