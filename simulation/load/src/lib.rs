//! Real Lianka phones against a real Lianka server: the demo, the storm and the workload they share.
//!
//! [`stage`] sets up a street on a server ([`server_process`], [`office`]); [`fleet`] enrols phones, lets them edit offline and reconnect;
//! [`findings`] judges what arrived. [`demo`] plays a planned morning ([`plan`]) on the sample [`roll`]; [`storm`] plays a [`workload`] and
//! measures it; [`imports`] measures rolls that come in and go out; [`soak`] goes on for hours and watches what grows; [`chaos`] kills everything while it works.

pub mod chaos;
pub mod demo;
mod draw;
pub mod findings;
pub mod fleet;
pub mod imports;
pub mod mapping;
pub mod office;
pub mod plan;
pub mod progress;
pub mod roll;
pub mod server_process;
pub mod soak;
pub mod stage;
pub mod storm;
pub mod table;
pub mod workload;
