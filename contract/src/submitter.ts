/**
 * Who asked for a task, as the coordinator knows it: the token that the submit carried. A node believes it as far as it
 * believes the coordinator, for submits are not signed.
 */
import { z } from "zod";

export const Submitter = z.object({
  /** The token's id. */
  token: z.string().max(64),
  /** What its maker called it: a person or a program. Absent for tasks of before names were kept. */
  name: z.string().max(64).optional(),
});
export type Submitter = z.infer<typeof Submitter>;
