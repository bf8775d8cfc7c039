//! The roll as a file: import and export.

pub mod export;
pub mod export_routes;
pub mod import;
pub mod import_file;
pub mod import_routes;
pub mod masks;
pub mod records;
pub mod sheet;
pub mod store;
pub mod store_export;
pub mod table_file;
