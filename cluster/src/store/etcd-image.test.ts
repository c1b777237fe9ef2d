import { expect, test } from "vitest";
import { Image } from "./etcd-image.ts";
import { EMPTY_HEAD } from "./etcd-load.ts";
import { queued } from "./store.fixtures.ts";

test("half a fold has brought a later task: the log's earlier ones come before it all the same", () => {
  const image = new Image(EMPTY_HEAD, 1);
  image.enter(queued(3));
  image.apply({ seq: 1, bytes: 1, counts: { queued: 3 }, reopened: [], rows: { created: [queued(1), queued(2), queued(3)] } });
  expect(image.loaded().live.map(({ key }) => key)).toEqual([1, 2, 3]);
});
