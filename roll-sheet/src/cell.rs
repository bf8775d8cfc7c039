//! The text of a cell: as a sheet means it, and as a record takes it.

pub(crate) use lianka_office_core::roll::{
    cells::{all_lines, listed, many_lines, occupancy, one_line},
    wrapped::{
        Scientific, is_error, is_formula, is_picture, plain, plain_number, scientific,
        spelled_value, without_extra_digits,
    },
};
