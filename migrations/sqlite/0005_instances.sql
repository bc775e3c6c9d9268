-- Several instances may write one database in turns, each with a row of its own, whose id is that of
-- its data folder.

-- The process that writes; null in the rows of the others.
ALTER TABLE instances ADD COLUMN process TEXT;

-- What other incarnations counted is now told apart by incarnation; of what was counted before that
-- is not known.
UPDATE alerts SET carried = json_object('earlier', json(carried)) WHERE carried IS NOT NULL;
