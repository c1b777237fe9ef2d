/**
 * Dead letters are found without looking at any other task: `live` is 2 for them, and they have an index of their own.
 * A column more would cost every task; an index that names states and reasons, too (see 0001).
 */
export const sql = `
UPDATE tasks SET live = 2
  WHERE state = 'failed' AND reason IN ('attempts_spent', 'not_retryable', 'poison', 'node_losses_spent', 'outcome_unknown');

CREATE INDEX tasks_dead ON tasks (key) WHERE live = 2;
`;
