//! What is looked at of an answer that a rollout watches; of others it stays empty.

use http::{HeaderValue, StatusCode};

use crate::domain::evidence::ContentTypeIndex;
use crate::proxy::waiting::Ticket;
use crate::runtime::content_types::ContentTypes;

#[derive(Default)]
pub(super) struct Look {
    /// The request's place in the waiting room, while it waits for its head.
    pub(super) ticket: Option<Ticket>,
    /// Whether it was counted as slow there.
    pub(super) was_waiting: bool,
    /// Whether the answer has no body because none was asked for.
    pub(super) is_bodiless: bool,
    pub(super) content_type: Option<ContentTypeIndex>,
    /// The bytes of the body so far, where there can be one.
    pub(super) bytes: Option<u64>,
}

impl Look {
    /// Looks at the head of the answer.
    pub(super) fn see(
        &mut self,
        status: StatusCode,
        content_type: Option<&HeaderValue>,
        types: &ContentTypes,
    ) {
        let is_empty = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let has_body = !is_empty && !self.is_bodiless;
        self.bytes = has_body.then_some(0);
        // What was not modified need not be described again.
        let is_described = status != StatusCode::NOT_MODIFIED;
        self.content_type =
            is_described.then(|| types.number(content_type.map(HeaderValue::as_bytes)));
    }
}
