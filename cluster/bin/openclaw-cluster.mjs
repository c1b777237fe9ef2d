#!/usr/bin/env node
/** The installed command. Runs on any Node from 18 on and starts the program itself on one in range (right-node.mjs). */
import { fileURLToPath } from "node:url";
import { start } from "./right-node.mjs";

await start(fileURLToPath(new URL("openclaw-cluster.ts", import.meta.url)), process.argv.slice(2));
