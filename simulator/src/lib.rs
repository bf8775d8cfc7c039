//! Real Lianka phones against a real Lianka server: the demo, the storm and the workload they share.

mod draw;
pub mod findings;
pub mod mapping;
pub mod office;
pub mod plan;
pub mod roll;
pub mod server_process;
pub mod table;
pub mod workload;
