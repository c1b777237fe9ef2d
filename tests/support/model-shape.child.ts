/**
 * A scripted model server (model-shapes.ts) as a process of its own, for a host of its own, until it is ended.
 *
 * usage: model-shape.child.ts ollama '{ "port": …, "models": [ … ] }'
 */
import { startModelShape, type ShapeOptions } from "./model-shapes.ts";
import type { Shape } from "./model-shape-stage.ts";

await startModelShape(process.argv[2] as Shape, JSON.parse(process.argv[3] ?? "{}") as ShapeOptions);
process.stdout.write("ready\n");
