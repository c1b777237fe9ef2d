/** The Prometheus text format, by hand; a client library would add more than it saves. */

type Labels = Readonly<Record<string, string>>;
export type Sample = readonly [labels: Labels, value: number];

/** counts: one more than bounds, each of what lies between two of them. */
interface Observed {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum: number;
}

const PREFIX = "openclaw_cluster_";

export function metric(name: string, type: "gauge" | "counter", help: string, samples: readonly Sample[]): string {
  return `${head(name, type, help)}${samples.map((sample) => line(name, sample)).join("")}`;
}

/** `observed`: for each set of labels what was counted. */
export function histogram(name: string, help: string, observed: readonly (readonly [labels: Labels, Observed])[]): string {
  const lines = observed.flatMap(([labels, { bounds, counts, sum }]) => {
    let count = 0;
    // Prometheus counts in each bucket those of the smaller ones too; the last has all.
    const buckets = counts.map((ofIt, at) => line(`${name}_bucket`, [{ ...labels, le: String(bounds[at] ?? "+Inf") }, (count += ofIt)]));
    return [...buckets, line(`${name}_sum`, [labels, sum]), line(`${name}_count`, [labels, count])];
  });
  return `${head(name, "histogram", help)}${lines.join("")}`;
}

const head = (name: string, type: string, help: string): string => `# HELP ${PREFIX}${name} ${help}\n# TYPE ${PREFIX}${name} ${type}\n`;

const line = (name: string, [labels, value]: Sample): string => `${PREFIX}${name}${braces(labels)} ${value}\n`;

export function one(value: number): Sample[] {
  return [[{}, value]];
}

export function counted(label: string, counts: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(counts).map(([key, count]) => [{ [label]: key }, count]);
}

function braces(labels: Labels): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replaceAll(/[\\"\n]/g, (char) => (char === "\n" ? "\\n" : `\\${char}`))}"`,
  );
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}
