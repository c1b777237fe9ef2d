import { ERRORS } from "@openclaw-cluster/contract/errors";
import type { Operation } from "@openclaw-cluster/contract/operation";
import { OPERATIONS } from "@openclaw-cluster/contract/operations";
import { describe, expect, test } from "vitest";
import { openApiDocument } from "./openapi.ts";

// oxlint-disable-next-line typescript/no-explicit-any -- a document is walked by names; expect judges what is there
const document = openApiDocument(OPERATIONS, "0.1.0") as any;
const operations = Object.entries<Operation>(OPERATIONS);

describe("the OpenAPI document", () => {
  test.each(operations)("tells of %s", (name, operation) => {
    const told = document.paths[`/api/v1${operation.path}`][operation.method];
    expect(told).toMatchObject({ operationId: name, summary: operation.summary, "x-scope": operation.scope });
    expect(Object.keys(told.responses)).toContain(String(operation.status));
    const parameters = (told.parameters ?? []) as { name: string; in: string; required: boolean }[];
    const named = (place: string) => parameters.filter((parameter) => parameter.in === place).map((parameter) => parameter.name);
    expect(named("path")).toEqual(Array.from(operation.path.matchAll(/\{(\w+)\}/g), ([, field]) => field));
    expect(named("query")).toEqual(Object.keys(operation.query?.shape ?? {}));
    expect(told.requestBody !== undefined).toBe(operation.body !== undefined);
  });

  test("tells of nothing else", () => {
    const told = Object.values<object>(document.paths).flatMap((path) => Object.keys(path));
    expect(told).toHaveLength(operations.length);
  });

  test("lists the closed table of errors", () => {
    expect(Object.keys(document.components.responses)).toEqual(Object.keys(ERRORS));
    expect(document.components.schemas.Problem.properties.code.enum).toEqual(Object.keys(ERRORS));
  });

  test("has every part that it points to, and no path of another format", () => {
    const pointers = Array.from(JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g), ([, pointer]) => pointer as string);
    expect(pointers.length).toBeGreaterThan(20);
    for (const pointer of new Set(pointers)) {
      const steps = pointer.split("/");
      expect(steps.shift()).toBe("#");
      expect({ pointer, part: steps.reduce((part, step) => part?.[step], document) }).toEqual({
        pointer,
        part: expect.anything() as unknown,
      });
    }
  });

  test("tells of the errors that only some can answer with", () => {
    const statuses = (name: keyof typeof OPERATIONS): string[] => {
      const { path, method } = OPERATIONS[name];
      return Object.keys(document.paths[`/api/v1${path}`][method].responses);
    };
    // Names and keys that are somebody's already, and a backup or a migration while another is made.
    for (const name of ["join", "enrol", "backup", "migrateStore", "drain"] as const) expect(statuses(name)).toContain("409");
    // Whatever changes something may find the disk full.
    for (const [name, { method }] of operations)
      expect([name, statuses(name as keyof typeof OPERATIONS).includes("507")]).toEqual([name, method !== "get"]);
  });

  test("is OpenAPI 3.1 with a strict body", () => {
    expect(document.openapi).toBe("3.1.0");
    expect(document.components.schemas.Retry.additionalProperties).toBe(false);
    expect(document.security).toEqual([{ token: [] }]);
  });
});
