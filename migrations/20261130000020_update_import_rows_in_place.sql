-- Every row of an import is written three times: proposed, marked, and with what became of it. With an index that names the state, each time anew in
-- four indexes; without it, and with room beside it on its page, in place. Rows that wait are found by their numbers, from the last that is done on.
drop index roll_import_row_pending;
alter table roll_import_row set (fillfactor = 50);
