import { MovableStore } from "./movable-store.ts";
import { openRamStore } from "./ram.ts";
import { describeStore } from "./store.conformance.ts";

describeStore("a store that can be moved", async () => {
  const store = new MovableStore(openRamStore());
  return { store, reopen: async () => store, end: () => store.close() };
});
