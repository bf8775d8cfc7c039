//! Real Lianka phones against a real Lianka server: the demo, the storm and the workload they share.

pub mod workload;
