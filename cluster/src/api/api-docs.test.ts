/** docs/api.md tells of exactly what there is: every example fits its schema, and the tables are the real ones. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { SseReader } from "@openclaw-cluster/contract/client/sse";
import { ERRORS, Problem } from "@openclaw-cluster/contract/errors";
import { ClusterEvent } from "@openclaw-cluster/contract/events";
import type { Operation } from "@openclaw-cluster/contract/operation";
import { OPERATIONS } from "@openclaw-cluster/contract/operations";
import { OutputChunk } from "@openclaw-cluster/contract/wire";
import { describe, expect, test } from "vitest";

const text = readFileSync(join(import.meta.dirname, "../../../docs/api.md"), "utf8");
const sections = text.split(/^#{2,3} /m).slice(1);
const blocks = (section: string, kind: string): string[] =>
  Array.from(section.matchAll(new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\``, "gm")), ([, block]) => block as string);

describe.each(Object.entries<Operation>(OPERATIONS))("%s", (name, operation) => {
  const heading = `\`${operation.method.toUpperCase()} ${operation.path}\` — ${name}, ${operation.scope}\n`;
  const section = sections.find((one) => one.startsWith(heading)) ?? "";

  test("has a section with a call", () => {
    expect(section).not.toBe("");
    const [call = ""] = blocks(section, "sh");
    const form = operation.path.replaceAll(/\{\w+\}/g, "[a-z0-9]+");
    expect(call).toMatch(new RegExp(`"\\$API${form}(\\?[^"]*)?"`));
    const method = /-X (\w+)/.exec(call)?.[1] ?? (call.includes(" -d '") ? "POST" : "GET");
    expect(method).toBe(operation.method.toUpperCase());
    const body = / -d '(.*)'/.exec(call)?.[1];
    expect(body === undefined).toBe(operation.body === undefined);
    if (body !== undefined) expect(operation.body?.safeParse(JSON.parse(body)).error).toBeUndefined();
  });

  test("has an answer that fits", () => {
    const answers =
      operation.stream === true
        ? blocks(section, "text").flatMap((stream) => new SseReader().push(`${stream}\n`))
        : blocks(section, "json");
    expect(answers.length).toBeGreaterThan(0);
    const schema = name === "events" ? ClusterEvent : name === "logs" ? OutputChunk : operation.reply;
    for (const answer of answers) {
      const data = typeof answer === "string" ? answer : answer.name === "message" ? answer.data : undefined;
      if (data !== undefined) expect(schema.safeParse(JSON.parse(data)).error).toBeUndefined();
    }
  });
});

test("no operation is told of that there is not", () => {
  expect(text.match(/^### `[A-Z]+ \/.*$/gm)).toHaveLength(Object.keys(OPERATIONS).length);
});

test("the table of errors is the closed table", () => {
  const rows = Object.entries(ERRORS).map(
    ([code, { status, class: its, retryable, exit, hint }]) =>
      `| \`${code}\` | ${status} | ${its} | ${retryable ? "yes" : "no"} | ${exit} | ${hint} |`,
  );
  expect(text).toContain(`| code | status | class | again | exit | what to do |\n|---|---|---|---|---|---|\n${rows.join("\n")}\n`);
  const section = sections.find((one) => one.startsWith("Errors\n")) ?? "";
  expect(Problem.safeParse(JSON.parse(blocks(section, "json")[0] ?? "")).error).toBeUndefined();
});
