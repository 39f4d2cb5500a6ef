//! The requests of the protocol, typed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exchange::{Ask, Exchange, ExchangeError};
use crate::protocol::B256;
use crate::protocol::messages::{
    Challenge, ChallengeAnswer, DeliverReports, Hello, OpenSession, REQUEST_MAX, Receipt, Refusal,
    ReportsTaken, SessionOpened,
};
use crate::protocol::report::SentReport;
use crate::protocol::signed::{ChallengeRequest, Signed};

/// How long a small request may take: an oracle syncs before it answers, and may have all of its nodes
/// at once.
const SMALL: Duration = Duration::from_secs(30);

/// How long a request of megabytes may take: 16 MiB in two minutes are 1.2 Mbit/s.
pub(crate) const LARGE: Duration = Duration::from_secs(120);

/// Why a request has no good answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// There is no answer.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The answer is no.
    #[error("{path} was refused: {refusal}")]
    Refused {
        /// What was asked.
        path: String,
        /// Why.
        refusal: Refusal,
    },
    /// The answer is not what it should be.
    #[error("{path} was answered with status {status} and no answer of this protocol: {why}")]
    Form {
        /// What was asked.
        path: String,
        /// Of HTTP.
        status: u16,
        /// What is wrong with it.
        why: String,
    },
    /// What would be sent is longer than what is taken.
    #[error("{path} would be sent {found} bytes, more than {REQUEST_MAX}")]
    TooLong {
        /// What would be asked.
        path: String,
        /// How long.
        found: usize,
    },
}

/// A peer that is asked.
#[derive(Clone)]
pub(crate) struct Client(Arc<dyn Exchange>);

impl Client {
    pub(crate) fn new(exchange: Arc<dyn Exchange>) -> Self {
        Self(exchange)
    }

    pub(crate) async fn hello(&self) -> Result<Hello, CallError> {
        self.call(Method::GET, "/v1/parameters".to_owned(), Bytes::new(), SMALL).await
    }

    pub(crate) async fn open(&self, session: &OpenSession) -> Result<SessionOpened, CallError> {
        self.post("/v1/sessions".to_owned(), session, SMALL).await
    }

    pub(crate) async fn deliver(
        &self,
        reports: Vec<SentReport>,
    ) -> Result<ReportsTaken, CallError> {
        self.post("/v1/reports".to_owned(), &DeliverReports { reports }, LARGE).await
    }

    pub(crate) async fn challenge(
        &self,
        request: &Signed<ChallengeRequest>,
    ) -> Result<Challenge, CallError> {
        self.post("/v1/challenges".to_owned(), request, SMALL).await
    }

    pub(crate) async fn answer(
        &self,
        request: &B256,
        answer: &ChallengeAnswer,
    ) -> Result<Receipt, CallError> {
        self.post(format!("/v1/challenges/{request}"), answer, LARGE).await
    }

    /// Reads what needs no session.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
    ) -> Result<T, CallError> {
        self.call(method, path, Bytes::new(), LARGE).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: String,
        body: &(impl Serialize + Sync),
        within: Duration,
    ) -> Result<T, CallError> {
        match serde_json::to_vec(body) {
            Ok(body) if body.len() > REQUEST_MAX => {
                Err(CallError::TooLong { path, found: body.len() })
            }
            Ok(body) => self.call(Method::POST, path, body.into(), within).await,
            Err(error) => Err(CallError::Form { path, status: 0, why: error.to_string() }),
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        body: Bytes,
        within: Duration,
    ) -> Result<T, CallError> {
        let answer = self.0.ask(Ask { method, path: path.clone(), body, within }).await?;
        let status = answer.status;
        let form = |error: serde_json::Error| error.to_string();
        let why = if status == 200 {
            match serde_json::from_slice(&answer.body).map_err(form) {
                Ok(found) => return Ok(found),
                Err(why) => why,
            }
        } else {
            match serde_json::from_slice(&answer.body).map_err(form) {
                Ok(refusal) => return Err(CallError::Refused { path, refusal }),
                Err(why) => why,
            }
        };
        Err(CallError::Form { path, status, why })
    }
}
