/**
 * Who asked for a task, as the coordinator knows it: the token that the submit carried, and the user for whom it speaks. A
 * node believes it as far as it believes the coordinator, for submits are not signed.
 */
import { z } from "zod";

export const Submitter = z.object({
  /** The token's id. */
  token: z.string().max(64),
  /** The user, who is the task's owner: a person or a program. Absent where nobody knows any more. */
  name: z.string().max(64).optional(),
});
export type Submitter = z.infer<typeof Submitter>;
