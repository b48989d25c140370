-- What is stored has the keys with which it is printed: camelCase. A quotation mark inside of a text is escaped,
-- so that only keys and whole values are met.
UPDATE run SET record = replace(replace(record,
    '"jobs_run":', '"jobsRun":'),
    '"how":"inplace"', '"how":"inPlace"');
UPDATE run_plan SET plan = replace(replace(replace(plan,
    '"desired_digest":', '"desiredDigest":'),
    '"forced_by":', '"forcedBy":'),
    '"how":"inplace"', '"how":"inPlace"');
UPDATE applied SET applied = replace(replace(replace(replace(applied,
    '"drift_since":', '"driftSince":'),
    '"max_deletes":', '"maxDeletes":'),
    '"self_heal":', '"selfHeal":'),
    '"how":"inplace"', '"how":"inPlace"');
