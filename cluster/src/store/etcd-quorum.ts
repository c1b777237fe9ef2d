/** Counting votes: which changes of etcd's members could leave it without a majority that answers. Sentences are for people. */

export interface Vote {
  readonly id: string;
  readonly name: string;
  readonly learner: boolean;
  /** Absent: it does not answer. */
  readonly status: { readonly leader: string | undefined } | undefined;
}

/** Three stand one loss and five stand two; each further one slows every commit. */
const MEMBERS_MAX = 7;

export const majorityOf = (voters: number): number => Math.floor(voters / 2) + 1;

const votersOf = (members: readonly Vote[]): readonly Vote[] => members.filter(({ learner }) => !learner);
const named = ({ id, name }: Vote): string => (name === "" ? id : `${id} (${name})`);

/** undefined: go on. */
export function refusalToAdd(members: readonly Vote[]): string | undefined {
  const dead = votersOf(members).find(({ status }) => status === undefined);
  if (dead !== undefined) return `etcd member ${named(dead)} does not answer: bring it back or replace it before another is added`;
  const learner = members.find(({ learner }) => learner);
  if (learner !== undefined) return `etcd member ${named(learner)} is still being added: let it come into service, or remove it first`;
  if (members.length >= MEMBERS_MAX) return `etcd has ${members.length} members, and more than ${MEMBERS_MAX} only make it slower`;
  return undefined;
}

export function refusalToRemove(members: readonly Vote[], id: string): string | undefined {
  const member = members.find((one) => one.id === id);
  if (member === undefined || member.learner) return undefined;
  const left = votersOf(members).filter((one) => one.id !== id);
  if (left.length === 0) return `etcd member ${named(member)} is the only one: it holds all that there is`;
  const answering = left.filter(({ status }) => status !== undefined).length;
  if (answering >= majorityOf(left.length)) return undefined;
  return `without etcd member ${named(member)} only ${answering} of ${left.length} would answer, which is no majority: bring the others back first`;
}
