-- Which plan a sink's progress belongs to. Null as long as sinks are not told the epochs of what they
-- deliver; `incarnation` is then that of the store, and later that of the log that numbers the epochs.
ALTER TABLE sink_progress ADD COLUMN plan_version TEXT;
