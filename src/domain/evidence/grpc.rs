//! What an answer of gRPC says of how its call went.
//!
//! A call that fails is answered with status 200 like any other; how it went stands in the field
//! `grpc-status`, which comes after the body, or in the head where there is none
//! (gRPC over HTTP/2, "Responses").

use crate::domain::evidence::outcome::{Failure, OutcomeClass};

/// The kind of content that calls are answered with.
const CONTENT_TYPE: &[u8] = b"application/grpc";

/// Whether an answer of this `content-type` says by `grpc-status` how its call went.
///
/// That of gRPC-Web does not: it has a field of this name within its body.
pub fn is_grpc(content_type: &[u8]) -> bool {
    let Some((kind, rest)) = content_type.split_at_checked(CONTENT_TYPE.len()) else {
        return false;
    };
    kind.eq_ignore_ascii_case(CONTENT_TYPE)
        && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// The class of a call whose answer ended in order, by the value of its `grpc-status`.
///
/// Failures of the backend are those that its operators answer for: 2 (unknown), 4 (deadline
/// exceeded), 12 (unimplemented), 13 (internal), 14 (unavailable) and 15 (data loss). What is no
/// code counts as 2, which is what clients take it for. 8 (resource exhausted) is what 429 is. Other
/// codes say that something was wrong with what was asked, as 4xx does. An answer that ends without
/// saying is not whole.
pub fn class(status: Option<&[u8]>) -> OutcomeClass {
    let Some(status) = status else {
        return OutcomeClass::BackendFailure(Failure::CutBody);
    };
    let code = str::from_utf8(status)
        .ok()
        .and_then(|text| text.parse().ok());
    match code {
        Some(0_u8) => OutcomeClass::Success,
        Some(1 | 3 | 5 | 6 | 7 | 9 | 10 | 11 | 16) => OutcomeClass::ClientError,
        Some(8) => OutcomeClass::TooManyRequests,
        _ => OutcomeClass::BackendFailure(Failure::Status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_grpc_are_told_by_their_content() {
        for yes in [
            "application/grpc",
            "application/grpc+proto",
            "Application/GRPC; charset=utf-8",
        ] {
            assert!(is_grpc(yes.as_bytes()), "{yes}");
        }
        for no in [
            "",
            "application/grp",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/json",
        ] {
            assert!(!is_grpc(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn each_code_is_somebodys() {
        let failure = OutcomeClass::BackendFailure(Failure::Status);
        let codes = [
            (OutcomeClass::Success, &[0][..]),
            (OutcomeClass::ClientError, &[1, 3, 5, 6, 7, 9, 10, 11, 16]),
            (OutcomeClass::TooManyRequests, &[8]),
            (failure, &[2, 4, 12, 13, 14, 15, 17, 255, 256]),
        ];
        for (expected, codes) in codes {
            for code in codes {
                let text = code.to_string();
                assert_eq!(class(Some(text.as_bytes())), expected, "{code}");
            }
        }
        for odd in ["", "ok", "-1", " 0", "0x0"] {
            assert_eq!(class(Some(odd.as_bytes())), failure, "{odd:?}");
        }
        assert_eq!(class(None), OutcomeClass::BackendFailure(Failure::CutBody));
    }
}
