//! The roll as a file: import and export.

pub mod export;
pub mod export_routes;
pub mod import;
pub mod import_file;
pub mod import_routes;
pub mod records;
pub mod store;
pub mod store_export;
pub mod table_file;

pub use lianka_office_core::roll::masks;
pub use lianka_roll_sheet as sheet;
