/** The program behind the command, on a Node in range. */
import { main } from "../src/cli/cli.ts";

process.exitCode = await main(process.argv.slice(2));
