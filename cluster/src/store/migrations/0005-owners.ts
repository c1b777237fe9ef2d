/**
 * Tasks and submit keys belong to users. Until here a token had no user: its name stands for it, also for tasks of before
 * names were kept if their token is still there. The column is in `tasks`, where lists look: in specs it would lie behind
 * a spec of up to 256 KiB.
 */
export const sql = `
ALTER TABLE tasks ADD COLUMN owner TEXT NOT NULL DEFAULT '';

UPDATE tasks SET owner = ifnull(
  (SELECT ifnull(s.owner_name, (SELECT json_extract(k.token, '$.name') FROM tokens k WHERE k.id = s.owner)) FROM specs s WHERE s.key = tasks.key),
  ''
);

ALTER TABLE specs DROP COLUMN owner_name;
ALTER TABLE specs RENAME COLUMN owner TO token;

-- Two tokens of one name may have used one key: the later row stays.
UPDATE OR REPLACE submit_keys
  SET owner = (SELECT json_extract(k.token, '$.name') FROM tokens k WHERE k.id = submit_keys.owner)
  WHERE owner IN (SELECT id FROM tokens);
`;
