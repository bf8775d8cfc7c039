//! What a phone keeps, in `SQLite`: the record store of `lianka_client_core` for every place that a phone can live in.
//!
//! [`local_store`] is schema and SQL, the same everywhere, over a connection that somebody else opened. Who opens it is the port: on a machine
//! [`local_file`] with `SQLite` compiled in, in a browser `origin_file` with `SQLite` as wasm on the private file system of the page's origin.

#[cfg(not(target_family = "wasm"))]
pub mod local_file;
pub mod local_store;
#[cfg(target_family = "wasm")]
pub mod origin_file;

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::local_store::LocalStore;

    #[test]
    fn sqlite_keeps_what_every_store_keeps() {
        let mut folders = Vec::new();
        lianka_client_core::store::conformance::run(|| {
            folders.push(tempfile::tempdir().unwrap());
            LocalStore::open_or_create(&folders.last().unwrap().path().join("phone.db")).unwrap()
        });
    }
}
