-- The pass that refreshes documents takes those that lag behind longest, whatever their street: by street the index made it look at all that lag and
-- sort them, for every 64.
drop index record_behind;
create index record_behind on record (seq) where seq > snapshot_seq and disputed_at is null;
