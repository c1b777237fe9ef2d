/** The scheduler's "why" as a sentence and a table of nodes. */
import type { Explanation } from "@openclaw-cluster/contract/placement";
import { table } from "./table.ts";
import { plainLine, type Terminal } from "./terminal.ts";

interface Row {
  readonly node: string;
  readonly score?: number;
  readonly why: string;
  readonly remedy?: string;
}

export function explanationText(terminal: Terminal, explanation: Explanation): string {
  const ahead = explanation.ahead ? ` ${explanation.ahead} ${explanation.ahead === 1 ? "task comes" : "tasks come"} before it.` : "";
  const sentence = `${plainLine(explanation.sentence)}${ahead}\n`;
  const rows: Row[] = [
    ...explanation.candidates.map(({ node, score, terms }) => ({
      node,
      score,
      why: Object.entries(terms)
        .map(([term, value]) => `${term} ${value.toFixed(2)}`)
        .join(" · "),
    })),
    ...explanation.refused.map(({ node, code, detail, remedy }) => ({ node, why: detail || code, remedy })),
  ];
  if (rows.length === 0) return sentence;
  const nodes = table(terminal, rows, [
    {
      title: "NODE",
      value: ({ node }) => (node === explanation.node ? `${node} ◂` : node),
      style: ({ node, score }) => (node === explanation.node ? "green" : score === undefined ? "dim" : undefined),
    },
    { title: "SCORE", value: ({ score }) => (score === undefined ? "-" : score.toFixed(2)), right: true },
    { title: "WHY", value: ({ why }) => why },
    { title: "WHAT WOULD HELP", value: ({ remedy }) => remedy },
  ]);
  return `${sentence}\n${nodes}`;
}
