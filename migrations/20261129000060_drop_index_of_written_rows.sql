-- Which rows wrote a card's changes is found by the card (roll_import_row_by_record): a second index of the same cards was written for nothing with
-- every row of an import.
drop index roll_import_row_by_hash;
