/** Requests that have done harm somewhere, here or elsewhere. They come first in every campaign, as they are. */
import { gzipSync } from "node:zlib";
import type { Shot } from "./requests.ts";

const SUBMIT = { operation: "submit", as: "admin", method: "POST", target: "/api/v1/tasks" } as const;
const JSON_TYPE = [["content-type", "application/json"]] as const;
const ECHO = '{"kind":"echo","input":{}}';

const submit = (body: string | Buffer, headers: Shot["headers"] = JSON_TYPE): Shot => ({ ...SUBMIT, headers, body: Buffer.from(body) });
const get = (operation: string, target: string, headers: Shot["headers"] = []): Shot => ({
  ...{ operation, as: "admin", method: "GET", target, headers, body: undefined },
});

const bulk = (body: string): Shot => ({ ...submit(body), operation: "bulk", target: "/api/v1/tasks/bulk" });
const patch = (body: string): Shot => ({ ...submit(body), operation: "patchNode", method: "PATCH", target: "/api/v1/nodes/one" });
const MANY = 1_000_000;

export const KNOWN_BAD: readonly Shot[] = [
  submit(`{"kind":"echo","input":{"value":${"[".repeat(1e5)}${"]".repeat(1e5)}}}`),
  submit(`{"kind":"echo","input":{"value":${'{"a":'.repeat(1e5)}1${"}".repeat(1e5)}}}`),
  submit("[".repeat(8_000_000)),
  submit(`{"kind":"echo","input":{"value":"${"x".repeat(300_000)}"}}`),
  submit(`{"tasks":[${Array.from({ length: 1_001 }, () => ECHO).join(",")}]}`),
  submit(`{"tasks":[${Array.from({ length: 100_000 }, () => "{}").join(",")}]}`),
  // Of each of them a schema would complain, for a minute.
  bulk(`{"action":"cancel","filter":{"state":[${"0,".repeat(MANY)}0]}}`),
  patch(`{"labels":{${Array.from({ length: MANY / 2 }, (_, n) => `"${n}":0`).join(",")}}}`),
  submit(`{"kind":"command","input":{"argv":[${"0,".repeat(120_000)}0]}}`),
  submit('{"kind":"echo","kind":"command","input":{},"input":{"argv":["true"]}}'),
  submit('{"kind":"echo","input":{"value":NaN}}'),
  submit('{"kind":"echo","input":{"value":1e308}}'),
  submit('{"kind":"echo","input":{"value":1e999}}'),
  submit('{"kind":"echo","input":{},"runAt":1e308}'),
  submit(`{"kind":"echo","input":{"delayMs":${"9".repeat(400)}}}`),
  submit('{"kind":"echo","input":{"value":"\\ud800"},"name":"\\ud800","dedupeKey":"\\udfff"}'),
  submit('{"kind":"echo","input":{"value":"a\\u0000b"},"name":"\\u0000","user":"\\u0000","fairnessKey":"\\u0000"}'),
  submit('{"kind":"echo","input":{"value":{"__proto__":{"polluted":1}}}}'),
  submit('{"kind":"echo","input":{"value":{"\\u005f_proto__":{"polluted":1}}}}'),
  submit('{"kind":"echo","input":{"value":{"constructor":{"prototype":{"polluted":1}}}},"labels":{"constructor":"x"}}'),
  submit(Buffer.from([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x3a, 0x31, 0x7d])),
  submit(gzipSync(ECHO), [...JSON_TYPE, ["content-encoding", "gzip"]]),
  submit(gzipSync(Buffer.alloc(50_000_000)), [...JSON_TYPE, ["content-encoding", "gzip"]]),
  submit(ECHO, [["content-type", "text/plain"]]),
  submit(ECHO, [...JSON_TYPE, ["x", "y".repeat(9_000)]]),
  get("listTasks", `/api/v1/tasks?${"state=queued&".repeat(400)}`),
  get("listTasks", "/api/v1/tasks?label=%00%3D%00&name=%F0%28%8C%BC&user=%ED%A0%80"),
  get("listTasks", "/api/v1/tasks?cursor=9007199254740993"),
  get("listTasks", "/api/v1/tasks?cursor=1e308"),
  get("getTask", "/api/v1/tasks/%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
  get("getTask", "/api/v1/tasks/t999999999999999"),
  get("getTask", `/api/v1/tasks/${"t1".repeat(3_000)}`),
  get("nodesWithSkill", `/api/v1/nodes/skills/${encodeURIComponent("'; DROP TABLE task;--\0")}`),
  get("events", "/api/v1/events", [["last-event-id", "-1"]]),
  get("events", "/api/v1/events", [["last-event-id", "9007199254740993"]]),
  get("events", "/api/v1/events", [["last-event-id", "1e308"]]),
  get("logs", "/api/v1/tasks/t1/logs", [["last-event-id", "999999999999.1"]]),
  get("events", "/api/v1/events?types=__proto__,constructor"),
];
