//! The form in which a function streams an HTTP response: a prelude (the head as JSON), 8 NUL bytes, and the body.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use http::header::{self, HeaderMap, HeaderName};
use http::{Response, StatusCode};
use serde_json::{Map, Value};

use crate::function_output::{self, header_value, put_cookies};
use crate::functions::{Chunks, FunctionError, StreamedAnswer};
use crate::http_event::is_hop_by_hop;

/// JSON contains no NUL, so the first 8 of them end the prelude.
const DELIMITER: [u8; 8] = [0; 8];
/// The longest prelude that is read. Longer heads would exceed API Gateway's limit on headers, which is 10 KB.
const MAX_PRELUDE_BYTES: usize = 16 * 1024;

/// A response of this form. The prelude is JSON.
pub(crate) fn write<S>(prelude: Bytes, body: S) -> Chunks
where
    S: Stream<Item = Result<Bytes, FunctionError>> + Send + 'static,
{
    let head = [prelude, Bytes::from_static(&DELIMITER)].map(Ok);
    stream::iter(head).chain(body).boxed()
}

/// Reads a response of that form, however it is divided into chunks. Returns when the head is complete.
pub(crate) async fn read(mut chunks: Chunks) -> Result<StreamedAnswer, FunctionError> {
    let mut prelude = BytesMut::new();
    let length = loop {
        let chunk = chunks.next().await.ok_or_else(|| malformed("ended before its prelude did"))??;
        // The delimiter may have begun in an earlier chunk.
        let searched = prelude.len().saturating_sub(DELIMITER.len() - 1);
        prelude.extend_from_slice(&chunk);
        if let Some(found) = prelude[searched..].windows(DELIMITER.len()).position(|part| part == DELIMITER) {
            break searched + found;
        }
        if prelude.len() > MAX_PRELUDE_BYTES {
            return Err(malformed("has no end of a prelude in its first 16 KiB"));
        }
    };
    let begun = prelude.split_off(length + DELIMITER.len()).freeze();
    prelude.truncate(length);
    let mut answer = head(&prelude).ok_or_else(|| malformed("must begin with JSON of a status and headers"))?;
    let begun = stream::iter((!begun.is_empty()).then_some(Ok(begun)));
    *answer.body_mut() = begun.chain(chunks).boxed();
    Ok(answer)
}

/// The head that a prelude describes, with an empty body. All members are optional.
fn head(prelude: &[u8]) -> Option<StreamedAnswer> {
    let members: Map<String, Value> = serde_json::from_slice(prelude).ok()?;
    let mut answer = Response::new(stream::empty().boxed());
    *answer.status_mut() = match members.get("statusCode") {
        None | Some(Value::Null) => StatusCode::OK,
        Some(_) => function_output::status(&members)?,
    };
    for name in ["headers", "multiValueHeaders"] {
        put_headers(members.get(name), answer.headers_mut())?;
    }
    put_cookies(members.get("cookies"), answer.headers_mut())?;
    Some(answer)
}

/// In both members a header may have several values, since `lambda_runtime` writes lists to `headers` as well.
fn put_headers(given: Option<&Value>, headers: &mut HeaderMap) -> Option<()> {
    let given = match given {
        None | Some(Value::Null) => return Some(()),
        Some(Value::Object(given)) => given,
        Some(_) => return None,
    };
    for (name, values) in given {
        let name = HeaderName::try_from(name).ok()?;
        let values = values.as_array().map_or(std::slice::from_ref(values), Vec::as_slice);
        for value in values {
            // A length would be one that the function expects, and its stream may end earlier.
            if let Some(value) = header_value(value)?
                && name != header::CONTENT_LENGTH
                && !is_hop_by_hop(&name)
            {
                headers.append(&name, value);
            }
        }
    }
    Some(())
}

fn malformed(problem: &str) -> FunctionError {
    FunctionError { error_type: "Runtime.InvalidStream".into(), message: format!("the stream {problem}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(parts: &[&[u8]]) -> Chunks {
        let parts: Vec<_> = parts.iter().map(|part| Ok(Bytes::copy_from_slice(part))).collect();
        stream::iter(parts).boxed()
    }

    async fn body(answer: StreamedAnswer) -> Vec<u8> {
        let parts = answer.into_body().map(|part| part.unwrap().to_vec());
        parts.collect::<Vec<_>>().await.concat()
    }

    async fn head_of(prelude: &str) -> Option<StreamedAnswer> {
        read(chunks(&[prelude.as_bytes(), &DELIMITER])).await.ok()
    }

    #[tokio::test]
    async fn a_prelude_is_found_however_the_stream_is_divided() {
        let prelude = r#"{"statusCode":201,"headers":{"x-a":"1"},"cookies":["a=1","b=2"]}"#;
        let all = [prelude.as_bytes(), &DELIMITER, b"\0data: 1\n\n"].concat();
        for length in [1, 2, 3, 7, 8, 9, all.len()] {
            let parts: Vec<&[u8]> = all.chunks(length).collect();
            let answer = read(chunks(&parts)).await.unwrap();
            assert_eq!(answer.status(), StatusCode::CREATED, "parts of {length}");
            assert_eq!(answer.headers()["x-a"], "1");
            assert_eq!(answer.headers().get_all(header::SET_COOKIE).iter().count(), 2);
            assert_eq!(body(answer).await, b"\0data: 1\n\n", "parts of {length}");
        }
    }

    #[tokio::test]
    async fn the_head_is_complete_before_the_body_is() {
        let endless = chunks(&[b"{}", &DELIMITER]).chain(stream::pending()).boxed();
        assert_eq!(read(endless).await.unwrap().status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn headers_may_have_several_values_and_lose_what_concerns_the_connection() {
        let answer = head_of(
            r#"{"headers":{"X-A":["1","2"],"content-length":"5","connection":"close"},"multiValueHeaders":{"x-a":["3"]}}"#,
        );
        let answer = answer.await.unwrap();
        assert_eq!(answer.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2", "3"]);
        assert_eq!(answer.headers().len(), 3);
    }

    #[tokio::test]
    async fn a_malformed_prelude_is_an_error() {
        for bad in ["", "[]", "{", r#"{"statusCode":99}"#, r#"{"headers":{"a b":"c"}}"#, r#"{"cookies":"a=1"}"#] {
            assert!(head_of(bad).await.is_none(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_stream_without_a_prelude_is_an_error_and_is_not_read_to_its_end() {
        let error = read(chunks(&[br#"{"statusCode":200}"#])).await.err().unwrap();
        assert_eq!(error.to_string(), "Runtime.InvalidStream: the stream ended before its prelude did");
        let long = stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 1024]))).take(1_000).boxed();
        let error = read(long).await.err().unwrap();
        assert!(error.message.contains("16 KiB"), "{error}");
    }
}
