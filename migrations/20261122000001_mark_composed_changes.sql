-- A desk's changes are written by the server in the desk's name. A client that syncs as the same device does not have them, so the log must tell
-- them from what the device sent itself, which is not sent back.
alter table change_log add column composed boolean not null default false;
