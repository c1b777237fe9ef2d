import { describe, expect, it } from "vitest";
import { z } from "zod";
import { LIMITS } from "./limits.ts";
import type { Operation } from "./operation.ts";
import { OPERATIONS, SubmitBody } from "./operations.ts";

const operations: [string, Operation][] = Object.entries(OPERATIONS);

describe("the table of operations", () => {
  it("names every method and path once", () => {
    const routes = operations.map(([, { method, path }]) => `${method} ${path.replaceAll(/\{\w+\}/g, "{}")}`);
    expect(new Set(routes).size).toBe(routes.length);
  });

  it.each(operations)("%s has a schema for each name in its path, and no other", (_name, { path, params }) => {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    expect(Object.keys(params?.shape ?? {})).toEqual(inPath);
  });

  it.each(operations)("%s asks for a right that fits what it does", (name, { method, scope }) => {
    // Who holds which token, and who did what, is the administrator's business.
    if (method === "get") expect(scope).toBe(["tokens", "audit"].includes(name) ? "admin" : "viewer");
    else expect(["join", "session"].includes(name) ? ["proof"] : ["submitter", "operator", "admin"]).toContain(scope);
  });

  it.each(operations.filter(([, { body }]) => body !== undefined))("%s refuses unknown fields", (_name, { body }) => {
    const parsed = body?.safeParse({ unheardOf: 1 });
    expect(parsed?.success).toBe(false);
  });

  it.each(operations)("%s can be written as JSON Schema, as the OpenAPI document needs it", (_name, { body, query, params, reply }) => {
    const schemas = [body, query, params, reply].filter((schema) => schema !== undefined);
    expect(() => schemas.map((schema) => z.toJSONSchema(schema, { io: "input", target: "draft-2020-12" }))).not.toThrow();
  });
});

describe("SubmitBody", () => {
  const echo = { kind: "echo", input: {} };
  const tasks = (count: number): unknown => ({ tasks: Array.from({ length: count }, () => echo) });

  it.each([
    ["one task", echo],
    ["a thousand", tasks(LIMITS.submitTasksMax)],
  ])("takes %s", (_what, body) => {
    expect(SubmitBody.safeParse(body).success).toBe(true);
  });

  it.each([
    ["none", tasks(0)],
    ["too many", tasks(LIMITS.submitTasksMax + 1)],
    ["a task beside tasks", { ...echo, tasks: [echo] }],
    ["a bare array", [echo]],
  ])("refuses %s", (_what, body) => {
    expect(SubmitBody.safeParse(body).success).toBe(false);
  });
});
