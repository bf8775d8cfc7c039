//! AUTH: bearer token → [`Principal`].
//!
//! In: a request and the row of its route. Out: who asks, or a refusal. Also everything that makes tokens: enrolment codes, passwords,
//! refresh chains and signing keys.
//!
//! Invariants:
//! - [`fn@gate`] runs before every route and admits only whom the route's row names; there is no route without a row.
//! - Role, street and revocation come from the database at each request, never from the token: a change takes effect at once.
//! - A [`Principal`] is made by the gate and nowhere else, and a [`StreetScope`] only by a principal: whoever holds one has been let in.
//! - Secrets (codes, refresh tokens, passwords) are stored hashed, are never logged, and stand in no error.

pub mod access;
mod access_token;
mod enrolment;
pub mod error;
mod first_admin;
mod gate;
mod lock_out;
mod password;
mod permits;
mod principal;
mod provider;
pub mod route;
pub mod routes;
mod session;
mod signing_keys;
mod state;
pub mod store;
pub mod terminal;

pub use enrolment::{Enrolment, create_enrolment, create_enrolment_by};
pub use first_admin::{CreateAdminError, create_admin};
pub use gate::{Gate, gate};
pub use lock_out::{change_own_password, reset_password};
pub use principal::{Principal, StreetScope};
pub use session::{
    GridView, Session, SignIn, StreetGridsView, UserView, enrol, refresh, sign_in, sign_out,
};
pub use signing_keys::{Key, SealKey};
pub use state::Auth;
