import { openRamStore } from "./ram.ts";
import { describeStore } from "./store.conformance.ts";

describeStore("ram", async () => {
  const store = openRamStore();
  return { store, reopen: async () => store, end: () => store.close() };
});
