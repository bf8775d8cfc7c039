//! The door to JavaScript: a phone in a dedicated worker. Texts and bytes in, JSON out; nothing is decided here.

use lianka_client_core::{
    link::{Call, LinkError},
    rescue, session,
};
use lianka_client_local::{local_store::LocalStore, origin_file::OriginFolder};
use lianka_sync_core::{lang::Lang, time::DeviceTime};
use serde::Serialize;
use serde_json::json;
use wasm_bindgen::prelude::*;

use crate::{
    exchange::{self, Exchange, Step},
    failure::Failure,
    phone::{self, Around, Question, practice},
};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = Date, js_name = now)]
    fn now_ms() -> f64;
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn fill(bytes: &mut [u8]);
}

/// `{"ok": …}` or `{"failed": {…}}`.
fn told<T: Serialize>(result: Result<T, Failure>) -> String {
    match result {
        Ok(done) => json!({ "ok": done }),
        Err(failed) => json!({ "failed": failed }),
    }
    .to_string()
}

/// A phone, held by this worker.
#[wasm_bindgen]
pub struct Phone {
    folder: OriginFolder,
    store: Option<LocalStore>,
    exchange: Option<Exchange>,
    lang: Lang,
}

impl Phone {
    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut LocalStore, &mut Option<Exchange>, &mut Around<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let store = self.store.as_mut().ok_or_else(|| Failure::of("cut"))?;
        let mut entropy = || {
            let mut bytes = [0; 16];
            fill(&mut bytes);
            bytes
        };
        let mut around = Around {
            now: DeviceTime::from_unix_ms(now_ms() as i64),
            entropy: &mut entropy,
            lang: self.lang,
        };
        work(store, &mut self.exchange, &mut around)
    }

    fn replaced(&mut self) -> Result<(), Failure> {
        let store = self.store.as_mut().ok_or_else(|| Failure::of("cut"))?;
        if !phone::may_be_replaced(store)? {
            return Err(Failure::of("in_use"));
        }
        self.exchange = None;
        self.store = None;
        self.folder.delete()?;
        self.store = Some(self.folder.open_or_create()?);
        Ok(())
    }

    fn step(
        &mut self,
        work: impl FnOnce(&mut Exchange, &mut LocalStore, &mut Around<'_>) -> Step,
    ) -> String {
        told(self.with(|store, exchange, around| {
            let exchange = exchange.as_mut().ok_or_else(|| Failure::of("cut"))?;
            Ok(work(exchange, store, around))
        }))
    }
}

#[wasm_bindgen]
impl Phone {
    /// Takes the folder and opens the phone in it, or makes a new one. Fails with the text of a failure.
    pub async fn open(folder: String) -> Result<Phone, String> {
        let open = async || {
            let folder = OriginFolder::take(&folder).await?;
            let store = folder.open_or_create()?;
            Ok::<_, Failure>(Self {
                folder,
                store: Some(store),
                exchange: None,
                lang: Lang::Zh,
            })
        };
        open()
            .await
            .map_err(|failure| json!({ "failed": failure }).to_string())
    }

    /// Lets go of the folder, for another page.
    pub fn close(&mut self) -> String {
        self.exchange = None;
        self.store = None;
        told(self.folder.close().map_err(Failure::from))
    }

    /// Fills this phone with the practice street, where it is empty.
    pub fn practise(&mut self) -> String {
        told(self.with(|store, _, around| practice::fill(store, around)))
    }

    /// After a wipe that the office knows of, or after practising: the file goes, and a new phone begins in its place.
    pub fn begin_anew(&mut self) -> String {
        told(self.replaced())
    }

    /// The language of messages: `zh` or `en`.
    pub fn speak(&mut self, lang: &str) {
        self.lang = lang.parse().unwrap_or_default();
    }

    /// Answers a question.
    pub fn ask(&mut self, question: &str) -> String {
        told(self.with(|store, _, around| {
            let question: Question = serde_json::from_str(question).map_err(|error| Failure {
                message: error.to_string(),
                ..Failure::of("bad_question")
            })?;
            phone::answer(store, question, around)
        }))
    }

    /// The key of a file of unsent edits. `None` where the passphrase is too short.
    pub fn file_key(&self, passphrase: &str, salt: &[u8]) -> Option<Vec<u8>> {
        Some(rescue::file_key(passphrase, salt.try_into().ok()?)?.to_vec())
    }

    /// The request that spends an enrolment code. Looks first whether the store can be used: one that cannot must not cost a code.
    pub fn enrolment(&mut self, code: &str, name: &str) -> String {
        told(self.with(|store, _, _| {
            session::enrolled_before(store)?;
            if practice::is_practice(store)? {
                return Err(Failure::of("practice"));
            }
            let call = Call::Enrol {
                code: code.to_owned(),
                name: name.to_owned(),
                platform: "web".to_owned(),
            };
            let body = call.body().map_err(|error| Failure::of(error.code()))?;
            let body = String::from_utf8_lossy(&body).into_owned();
            Ok(json!({ "path": call.path(), "body": body }))
        }))
    }

    /// What the enrolment brought.
    pub fn enrolled(&mut self, text: &str, server: &str) -> String {
        told(self.with(|store, _, around| {
            let signed = exchange::signed_in(text).map_err(|error| Failure {
                message: error.to_string(),
                ..Failure::of(error.code())
            })?;
            let before = session::enrolled_before(store)?;
            session::enrol(store, before, &signed, None, server, around.now)?;
            Ok(())
        }))
    }

    /// Begins to synchronise; where the phone was wiped, begins to tell so.
    pub fn synchronise(&mut self, wiped: bool) -> String {
        self.exchange = Some(if wiped {
            Exchange::tell_of_wipe()
        } else {
            Exchange::synchronise()
        });
        self.step(Exchange::begin)
    }

    /// Goes on after a wait.
    pub fn go_on(&mut self) -> String {
        self.step(Exchange::begin)
    }

    /// The body to send.
    pub fn body(&mut self) -> Vec<u8> {
        self.exchange
            .as_mut()
            .map(Exchange::take_body)
            .unwrap_or_default()
    }

    /// The request is answered with items of this media type.
    pub fn answering(&mut self, media_type: &str) -> String {
        self.step(|exchange, store, around| exchange.answering(media_type, store, around))
    }

    /// Bytes of the answer.
    pub fn chunk(&mut self, bytes: &[u8]) -> String {
        self.step(|exchange, store, around| exchange.chunk(bytes, store, around))
    }

    /// The answer ended.
    pub fn over(&mut self) -> String {
        self.step(Exchange::over_now)
    }

    /// The request is answered with tokens.
    pub fn signed_in(&mut self, text: &str) -> String {
        self.step(|exchange, store, around| exchange.signed_in(text, store, around))
    }

    /// The server refused.
    pub fn refused(
        &mut self,
        status: u16,
        name: &str,
        retry_after: Option<String>,
        body: &[u8],
    ) -> String {
        let error = LinkError::refused(status, name, retry_after.as_deref(), body);
        self.step(|exchange, store, around| exchange.broke(error, store, around))
    }

    /// No connection, or it broke.
    pub fn broke(&mut self, why: String) -> String {
        self.step(|exchange, store, around| exchange.broke(LinkError::Network(why), store, around))
    }
}
