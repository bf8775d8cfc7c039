//! What is sent to an attacked server, and how it is put together.

use lianka_sync_core::{
    codec::wire::{Encoding, Hello, PushedChange, Report, RequestItem},
    id::RecordId,
    kinds::Kind,
};

use crate::requests;

/// Something to send.
#[derive(Clone, Debug)]
pub enum Attack {
    /// A synchronisation as HTTP wants it, whatever its body is.
    Sync {
        encoding: Encoding,
        packing: Option<&'static str>,
        body: Vec<u8>,
    },
    /// Any request.
    Call {
        method: &'static str,
        path: String,
        json: bool,
        body: Vec<u8>,
    },
    /// Bytes on a fresh connection.
    Raw { bytes: Vec<u8>, manner: Manner },
    /// The same bytes on so many fresh connections at once; every answer is read.
    Many { bytes: Vec<u8>, times: usize },
}

/// How somebody behaves who has sent what they wanted to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    Reads,
    /// Says that nothing more comes, and reads.
    ClosesHalf,
    /// Goes away without a word.
    Leaves,
    /// Stays and reads nothing, for a while.
    Ignores,
}

fn hello(pull: bool) -> RequestItem {
    RequestItem::Hello(Hello {
        blocks: 0,
        kinds: Vec::new(),
        cursor: None,
        client: "hostile-load/1".into(),
        pull,
        report: Report::default(),
    })
}

pub fn items(encoding: Encoding, pull: bool, changes: &[(RecordId, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    encoding.write(&hello(pull), &mut body);
    for (record, bytes) in changes {
        let change = PushedChange {
            record: *record,
            kind: Kind::ShopCard,
            generation: 1,
            bytes: bytes.clone(),
        };
        encoding.write(&RequestItem::Change(change), &mut body);
    }
    body
}

pub fn sync(encoding: Encoding, changes: &[(RecordId, Vec<u8>)]) -> Attack {
    Attack::Sync {
        encoding,
        packing: None,
        body: items(encoding, false, changes),
    }
}

pub fn packed(encoding: Encoding, packing: Option<&'static str>, body: &[u8]) -> Attack {
    let body = match packing {
        None => body.to_vec(),
        Some("zstd") => requests::zstd(body),
        Some(_) => requests::gzip(body),
    };
    Attack::Sync {
        encoding,
        packing,
        body,
    }
}
